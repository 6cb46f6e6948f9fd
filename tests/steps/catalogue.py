"""Rows of cameras, frames and masters, written without any file: what steps find when they ask the database."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from toros.models import (
    CCD,
    CalFile,
    Campaign,
    MasterCal,
    Observatory,
    Pawprint,
    Product,
    Software,
    State,
    StateChange,
    StepRun,
)

Row = TypeVar("Row", Pawprint, CalFile, MasterCal)

NIGHT = dt.date(2026, 11, 20)
MOMENT = dt.datetime(2026, 11, 21, 3, tzinfo=dt.UTC)
RULE_COLUMNS = {"gain_setting": 100.0, "offset_setting": 10.0, "readoutm": "Normal"}


@dataclass
class Catalogue:
    """Adds rows to a session; frames and masters are alike in all that is not said otherwise."""

    session: Session
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def campaign(self, name: str = "Camera", **columns: Any) -> Campaign:
        """Put a camera to work."""
        ccd = CCD(
            name=name,
            brand="",
            model="",
            xpixsize=128,
            ypixsize=96,
            **{"profile": "generic", "gain": 1.5, "read_noise": 10.0} | columns,
        )
        site = self.session.scalars(select(Observatory)).first()
        campaign = Campaign(name=f"{name} here", observatory=site, ccd=ccd)
        self.session.add(campaign)
        self.session.flush()
        return campaign

    def light(self, campaign: Campaign, exptime: float = 120.0, **columns: Any) -> Pawprint:
        """Add a science frame that was cleaned."""
        frame = Pawprint(**self._exposure(campaign, "Science", exptime) | columns)
        return self._enter(frame, "cleaned_data")

    def calibration(
        self,
        campaign: Campaign,
        imagetype: str,
        exptime: float = 0.0,
        state: str = "cleaned_data",
        **columns: Any,
    ) -> CalFile:
        """Add a calibration frame that was cleaned."""
        values = self._exposure(campaign, imagetype, exptime)
        if imagetype != "Flat":
            values["filter"] = None
        return self._enter(CalFile(**values | columns), state)

    def master(
        self,
        campaign: Campaign,
        imagetype: str,
        exptime: float | None = None,
        *,
        state: str = "master_accepted",
        caveats: tuple[str, ...] = (),
        **columns: Any,
    ) -> MasterCal:
        """Add a master, with a product."""
        number = next(self.numbers)
        values = {
            "imagetype": imagetype,
            "set_key": f"{imagetype} {exptime} {columns.get('filter')} {columns.get('set_temp', -20.0)}",
            "night": NIGHT,
            "version": 1,
            "ccd_id": campaign.ccd_id,
            "xbinning": 1,
            "ybinning": 1,
            "naxis1": 128,
            "naxis2": 96,
            "set_temp": -20.0,
            "exptime": exptime,
            "filter": "V" if imagetype == "Flat" else None,
            "has_bias": False if imagetype == "Dark" else None,
        }
        master = self._enter(MasterCal(**values | RULE_COLUMNS | columns), state)
        run = self.run("combine", master.id)
        self.session.add(
            Product(
                item_id=master.id,
                kind="master",
                version=1,
                path=f"master_{number}.fits",
                size=0,
                checksum=f"{number:064d}",
                steprun_id=run.id,
                caveats=list(caveats),
            )
        )
        self.session.flush()
        return master

    def products(self, *masters: MasterCal) -> tuple[int, ...]:
        """Return the ids of the products of these masters."""
        found = dict(self.session.execute(select(Product.item_id, Product.id)).all())
        return tuple(found[master.id] for master in masters)

    def run(self, step: str, item_id: int | None = None, **columns: Any) -> StepRun:
        """Add a step run that succeeded."""
        software = self.session.scalars(select(Software)).first() or Software(digest="0" * 64, versions={})
        values = {
            "step_version": "1",
            "parameters": {},
            "parameters_hash": "0" * 64,
            "software": software,
            "status": "succeeded",
            "host": "host",
            "boot": "boot",
            "pid": 1,
            "pid_started": 0.0,
            "started_at": MOMENT,
            "ended_at": MOMENT,
        }
        run = StepRun(step=step, item_id=item_id, **values | columns)
        self.session.add(run)
        self.session.flush()
        return run

    def move(self, item: MasterCal | Pawprint | CalFile, state: str, run: StepRun) -> None:
        """Let a run bring an item into another state."""
        old, item.state = item.state, self._state(state)
        item.state_count += 1
        self.session.add(
            StateChange(
                item_id=item.id, count=item.state_count, old_state=old, nw_state=item.state, steprun=run
            )
        )
        self.session.flush()

    def _enter(self, item: Row, state: str) -> Row:
        item.state, item.state_count = self._state(state), 1
        self.session.add(item)
        self.session.flush()
        return item

    def _state(self, name: str) -> State:
        return self.session.scalars(select(State).where(State.name == name)).one()

    def _exposure(self, campaign: Campaign, imagetype: str, exptime: float) -> dict[str, Any]:
        number = next(self.numbers)
        return RULE_COLUMNS | {
            "name": f"{imagetype}-{number:03d}.fit",
            "checksum": f"{number:064d}",
            "night": NIGHT,
            "jd": 2461365.5,
            "observation_date": MOMENT + dt.timedelta(minutes=number),
            "exptime": exptime,
            "imagetype": imagetype,
            "filter": "V",
            "dialect": "generic",
            "bitpix": 16,
            "bzero": 32768.0,
            "naxis": 2,
            "naxis1": 128,
            "naxis2": 96,
            "xbinning": 1,
            "ybinning": 1,
            "set_temp": -20.0,
            "ccdtemp": -20.0,
            "campaign": campaign,
        }
