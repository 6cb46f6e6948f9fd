"""The rows that every database starts with, read from the data files in this folder."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from toros.models.observatory import CCD, Campaign, Observatory
from toros.models.stream import State


def plant(session: Session) -> None:
    """Insert the seed rows that are not there yet; rows that a person has changed stay as they are."""
    for row in _rows("states.toml", "state"):
        if session.scalar(select(State).filter_by(name=row["name"])) is None:
            session.add(State(is_error=row.get("is_error", False), name=row["name"], order=row["order"]))
    for model, key in ((Observatory, "observatory"), (CCD, "ccd")):
        for row in _rows("observatories.toml", key):
            if session.scalar(select(model).filter_by(name=row["name"])) is None:
                session.add(model(**row))
    session.flush()
    for row in _rows("observatories.toml", "campaign"):
        if session.scalar(select(Campaign).filter_by(name=row["name"])) is None:
            observatory = session.scalar(select(Observatory).filter_by(name=row["observatory"]))
            ccd = session.scalar(select(CCD).filter_by(name=row["ccd"]))
            session.add(Campaign(**(row | {"observatory": observatory, "ccd": ccd})))


def _rows(file: str, key: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = tomllib.loads((files(__name__) / file).read_text())[key]
    return rows
