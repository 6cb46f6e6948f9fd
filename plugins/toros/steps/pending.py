"""What waits for which step: always a query, never a queue."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import bindparam, exists, select, text
from sqlalchemy.orm import Session

from toros.models import CALIBRATION_TYPES, CalFile, Combination, MasterCal, State, UTCDateTime
from toros.sql import read_sql
from toros.steps.calibration_rules import CalibrationRules
from toros.steps.step import Step


def items_waiting_for(session: Session, step: type[Step[Any, Any, Any]]) -> list[int]:
    """Return the items in the state that a step takes and held by nobody, oldest first."""
    if step.takes is None:
        return []
    return list(
        session.scalars(
            select(step.takes.id)
            .join(step.takes.state)
            .where(
                State.name == step.from_state,
                step.takes.claimed_by_id.is_(None),
                *step.conditions,
            )
            .order_by(step.takes.id)
        )
    )


def science_frames(session: Session, rules: CalibrationRules, now: dt.datetime) -> list[int]:
    """Return the science frames that can be worked on now, oldest first."""
    waited_since = now - dt.timedelta(minutes=rules.science.wait_minutes)
    query = text(read_sql("pending/science_frames")).bindparams(
        bindparam("waited_since", waited_since, type_=UTCDateTime)
    )
    return list(session.scalars(query))


def calibration_nights(session: Session) -> list[dt.date]:
    """Return the nights with calibration frames that are in no master yet, or with masters still to be made."""
    uncombined = (
        select(CalFile.night)
        .join(CalFile.state)
        .where(
            State.name.in_(("raw_data", "cleaned_data")),
            ~exists().where(Combination.calfile_id == CalFile.id),
        )
    )
    wanted = select(MasterCal.night).join(MasterCal.state).where(State.name == "master_wanted")
    return sorted(set(session.scalars(uncombined.union(wanted))))


def wanted_masters(session: Session, *imagetypes: str) -> list[int]:
    """Return the masters of these kinds (of all kinds, if none is named) that are to be made, oldest first."""
    return list(
        session.scalars(
            select(MasterCal.id)
            .join(MasterCal.state)
            .where(State.name == "master_wanted", MasterCal.imagetype.in_(imagetypes or CALIBRATION_TYPES))
            .order_by(MasterCal.id)
        )
    )
