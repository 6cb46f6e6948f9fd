"""Names of items, for people."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import PurePath

from sqlalchemy import select
from sqlalchemy.orm import Session

from toros.models import Arrival, CalFile, Candidate, Item, MasterCal, Pawprint, Stack


def titles(session: Session, item_ids: Collection[int]) -> dict[int, str]:
    """Name items in words: a frame by its file name, a master by its set and version, an arrival by its file."""
    found: dict[int, str] = {}
    kinds = session.execute(select(Item.id, Item.kind).where(Item.id.in_(item_ids))).all()
    for kind in {kind for _, kind in kinds}:
        ids = [item_id for item_id, its_kind in kinds if its_kind == kind]
        found |= _titles_of_kind(session, kind, ids)
    return found


def set_in_words(set_key: str) -> str:
    """Write the key of a calibration set so that it can be read, and broken into lines."""
    return set_key.replace("|", " · ").replace("=", " ")


def _titles_of_kind(session: Session, kind: str, ids: list[int]) -> dict[int, str]:
    match kind:
        case "Pawprint" | "CalFile":
            model = Pawprint if kind == "Pawprint" else CalFile
            return dict(session.execute(select(model.id, model.name).where(model.id.in_(ids))).all())
        case "Arrival":
            paths = session.execute(select(Arrival.id, Arrival.path).where(Arrival.id.in_(ids)))
            return {item_id: PurePath(path).name for item_id, path in paths}
        case "MasterCal":
            masters = session.scalars(select(MasterCal).where(MasterCal.id.in_(ids)))
            return {row.id: f"{set_in_words(row.set_key)} of {row.night} v{row.version}" for row in masters}
        case "Stack":
            return {row.id: row.name for row in session.scalars(select(Stack).where(Stack.id.in_(ids)))}
        case "Candidate":
            found = session.scalars(select(Candidate).where(Candidate.id.in_(ids)))
            return {row.id: row.name for row in found}
        case _:
            return {item_id: f"{kind} {item_id}" for item_id in ids}
