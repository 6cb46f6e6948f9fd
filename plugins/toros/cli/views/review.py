"""The review list: frames that no hint has placed on the sky."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from toros.models import Pawprint, State, StateChange, StepRun


def frames_to_review(session: Session) -> list[dict[str, Any]]:
    """Return the frames on the list, the oldest first, each with the last reason.

    The reason is that of the last attempt: of the retry, or of a person's hint.
    """
    query = (
        select(Pawprint, StepRun)
        .join(Pawprint.state)
        .join(
            StateChange,
            (StateChange.item_id == Pawprint.id) & (StateChange.count == Pawprint.state_count),
        )
        .join(StateChange.steprun)
        .where(State.name == "wcs_review")
        .order_by(Pawprint.observation_date, Pawprint.id)
    )
    return [
        {
            "item": frame.id,
            "name": frame.name,
            "object": frame.object_,
            "night": frame.night,
            "filter": frame.filter,
            "exptime": frame.exptime,
            "pointing": None if frame.ra is None else f"{frame.ra:.4f} {frame.dec:+.4f}",
            "reason": run.why,
        }
        for frame, run in session.execute(query)
    ]
