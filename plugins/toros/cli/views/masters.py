"""The master calibration frames."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from toros.cli.views.nights import in_night
from toros.models import Combination, MasterCal, Product, State


def masters(
    session: Session, *, night: dt.date | None, state: str | None, imagetype: str | None
) -> list[dict[str, Any]]:
    """Return the masters, the newest night first, each with the caveats of its newest file."""
    query = (
        select(MasterCal)
        .join(MasterCal.state)
        .where(in_night(night))
        .order_by(MasterCal.night.desc(), MasterCal.imagetype, MasterCal.set_key, MasterCal.version)
    )
    if state is not None:
        query = query.where(State.name == state)
    if imagetype is not None:
        query = query.where(MasterCal.imagetype == imagetype)
    frames = dict(
        session.execute(
            select(Combination.mastercal_id, func.count()).group_by(Combination.mastercal_id)
        ).all()
    )
    caveats = dict(
        session.execute(
            select(Product.item_id, Product.caveats).where(Product.kind == "master").order_by(Product.version)
        ).all()
    )
    return [
        {
            "item": master.id,
            "imagetype": master.imagetype,
            "night": master.night,
            "filter": master.filter,
            "exptime": master.exptime,
            "set_temp": master.set_temp,
            "camera": master.ccd.name,
            "set_key": master.set_key,
            "version": master.version,
            "frames": frames.get(master.id, 0),
            "state": master.state.name,
            "is_error": master.state.is_error,
            "caveats": caveats.get(master.id, []),
        }
        for master in session.scalars(query)
    ]
