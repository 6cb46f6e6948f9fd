"""What steps have measured on items, seen with the limits of their cameras."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import select, union_all
from sqlalchemy.orm import Session

from toros.models import CCD, CalFile, Campaign, MasterCal, Pawprint, QualityMeasure
from toros.quality.judge import Colour, judge
from toros.quality.limits import QualityLimits


@dataclass(frozen=True)
class JudgedMeasure:
    """A number that a run recorded about an item."""

    name: str
    value: float
    unit: str
    run_id: int
    colour: Colour | None
    """By the limits in force; where there are none, what the run itself said, if it did."""
    reason: str | None
    """Why it is not green."""
    is_newest: bool
    """Whether no later run measured the same."""


def judged_measures(
    session: Session, item_ids: Collection[int], limits: QualityLimits
) -> dict[int, tuple[JudgedMeasure, ...]]:
    """Return all that was measured on items, the newest run last.

    A value in another unit than that of the limits cannot be judged by them.
    """
    rows = session.scalars(
        select(QualityMeasure)
        .where(QualityMeasure.item_id.in_(item_ids))
        .order_by(QualityMeasure.steprun_id, QualityMeasure.id)
    ).all()
    cameras = cameras_of(session, item_ids) if rows else {}
    newest = {(row.item_id, row.name): row.steprun_id for row in rows}
    found: dict[int, list[JudgedMeasure]] = {item: [] for item in item_ids}
    for row in rows:
        is_newest = newest[row.item_id, row.name] == row.steprun_id
        found[row.item_id].append(_judged(row, limits, cameras.get(row.item_id, ""), is_newest=is_newest))
    return {item: tuple(measures) for item, measures in found.items()}


def worst_colour(measures: Iterable[JudgedMeasure]) -> Colour | None:
    """Return the colour that rules an item, or None if nothing that was measured on it has one."""
    return max((it.colour for it in measures if it.is_newest and it.colour is not None), default=None)


def cameras_of(session: Session, item_ids: Collection[int]) -> dict[int, str]:
    """Return the names of the profiles of the cameras that took items, where a camera did."""
    exposures = [
        select(model.id, CCD.profile)
        .join(Campaign, Campaign.id == model.campaign_id)
        .join(CCD, CCD.id == Campaign.ccd_id)
        .where(model.id.in_(item_ids))
        for model in (Pawprint, CalFile)
    ]
    masters = select(MasterCal.id, CCD.profile).join(MasterCal.ccd).where(MasterCal.id.in_(item_ids))
    rows: Sequence[tuple[int, str]] = [
        (row[0], row[1]) for row in session.execute(union_all(*exposures, masters))
    ]
    return dict(rows)


def _judged(row: QualityMeasure, limits: QualityLimits, camera: str, *, is_newest: bool) -> JudgedMeasure:
    known = limits.of(camera).get(row.name)
    is_comparable = known is not None and known.unit == row.unit
    verdict = judge({row.name: row.value} if is_comparable else {}, limits, camera)
    colour = verdict.colours.get(row.name) or _said(row.colour)
    reason = str(verdict.reasons[0]) if verdict.reasons else None
    return JudgedMeasure(row.name, row.value, row.unit, row.steprun_id, colour, reason, is_newest)


def _said(colour: str | None) -> Colour | None:
    return next((known for known in Colour if known == colour), None)
