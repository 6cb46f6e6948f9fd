"""What is new on the sky, and what it is compared with, as rows for people."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from toros.errors import UnknownItem
from toros.models import Candidate, Detection, Pawprint, Reference, Stack, State

SUMMARY_COLUMNS = (
    *("item", "field", "ra", "dec", "state", "score", "predicted", "detections", "first_seen", "last_seen"),
    *("mag", "counterpart"),
)
POINT_COLUMNS = (
    *("jd", "frame", "filter", "mag", "mag_err", "upper_limit", "snr", "forced", "score", "model_version"),
)


def candidates(
    session: Session, *, night: dt.date | None = None, least_score: float = 0.0
) -> list[dict[str, Any]]:
    """Return the candidates, the most probable first; of a night those that stood out in one of its frames."""
    seen = (
        select(
            Detection.candidate_id,
            func.count().label("detections"),
            func.min(Pawprint.jd).label("first_seen"),
            func.max(Pawprint.jd).label("last_seen"),
            func.min(Detection.mag).label("mag"),
        )
        .join(Detection.pawprint)
        .where(~Detection.forced)
        .group_by(Detection.candidate_id)
    )
    if night is not None:
        seen = seen.where(Pawprint.night == night)
    found = seen.subquery()
    rows = session.execute(
        select(Candidate, State.name, found)
        .join(found, found.c.candidate_id == Candidate.id)
        .join(Candidate.state)
        .where(func.coalesce(Candidate.score, 0.0) >= least_score)
        .order_by(func.coalesce(Candidate.score, 0.0).desc(), Candidate.id)
    )
    return [
        {
            "item": candidate.id,
            "field": candidate.field.name,
            "ra": candidate.ra,
            "dec": candidate.dec,
            "state": state,
            "score": candidate.score,
            "predicted": candidate.predicted,
            "detections": count,
            "first_seen": first,
            "last_seen": last,
            "mag": mag,
            "counterpart": candidate.counterpart,
        }
        for candidate, state, _, count, first, last, mag in rows
    ]


def light_curve(session: Session, candidate_id: int) -> list[dict[str, Any]]:
    """Return what was measured at the place of a candidate, in the order of time.

    Raises
    ------
    UnknownItem
        There is no such candidate.
    """
    if session.get(Candidate, candidate_id) is None:
        raise UnknownItem(
            f"there is no candidate {candidate_id}", advice="`toros candidate list` shows what there is"
        )
    rows = session.execute(
        select(Detection, Pawprint)
        .join(Detection.pawprint)
        .where(Detection.candidate_id == candidate_id)
        .order_by(Pawprint.jd, Detection.id)
    )
    return [
        {
            "jd": frame.jd + frame.exptime / 2 / 86400,
            "frame": frame.name,
            "item": frame.id,
            "filter": frame.filter,
            "flux": point.flux,
            "flux_err": point.flux_err,
            "mag": point.mag,
            "mag_err": point.mag_err,
            "upper_limit": point.upper_limit,
            "snr": point.snr,
            "forced": point.forced,
            "score": point.score,
            "model_version": point.model_version,
        }
        for point, frame in rows
    ]


def references(session: Session) -> list[dict[str, Any]]:
    """Return the references of all fields, replaced ones too."""
    rows = session.scalars(
        select(Reference).join(Reference.stack).order_by(Reference.field_id, Stack.filter, Reference.id)
    )
    return [
        {
            "reference": row.id,
            "field": row.field.name,
            "filter": row.filter,
            "stack": row.stack_id,
            "name": row.stack.name,
            "limiting_magnitude": row.stack.limiting_magnitude,
            "fwhm": row.stack.fwhm,
            "valid_from": row.valid_from,
            "valid_until": row.valid_until,
        }
        for row in rows
    ]
