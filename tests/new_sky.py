"""Fields that were measured, stacked and searched: rows of frames, stacks and candidates, without any file."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any, TypeVar

from sqlalchemy import select

from toros.models import (
    Campaign,
    Candidate,
    Detection,
    Field,
    Item,
    Pawprint,
    Product,
    QualityMeasure,
    Reference,
    Software,
    Stack,
    StackMember,
    State,
    StateChange,
    StepRun,
)
from toros.models.base import Model
from toros.models.database import Database

NIGHT = dt.date(2026, 11, 20)
START = dt.datetime(2026, 11, 21, 1, tzinfo=dt.UTC)
START_JD = 2461365.541667
PLACE = {"ra": 75.003, "dec": -24.996, "healpix": 1}

M = TypeVar("M", bound=Model)


class MeasuredSky:
    """Adds frames and their field, each in a transaction of its own; what is not said is alike in all of them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.numbers = itertools.count(1)
        with database.write() as session:
            self.campaign = session.scalars(select(Campaign.id)).first()
            software = session.scalars(select(Software)).first() or Software(digest="0" * 64, versions={})
            session.add(software)
            session.flush()
            self.software = software.id
        self.field = self.add_field("J050000-250000")

    def add_field(self, name: str) -> int:
        """A field of the camera."""
        return self._add(Field(name=name, campaign_id=self.campaign, radius=0.1, **PLACE)).id

    def run(self, step: str = "find_candidates", item: int | None = None) -> int:
        """A step run that succeeded."""
        row = StepRun(
            step=step, step_version="1", parameters={}, parameters_hash="0" * 64, software_id=self.software,
            status="succeeded", item_id=item, host="andes", boot="b", pid=1, pid_started=0.0,
            started_at=START, ended_at=START,
        )  # fmt: skip
        return self._add(row).id

    def frame(self, *, night: int = 0, state: str = "searched", **columns: Any) -> int:
        """A frame of an hour of the first night, or of one so many nights later."""
        number = next(self.numbers)
        later = dt.timedelta(days=night, minutes=5 * number)
        values = {
            "name": f"light-{number:03d}.fits", "checksum": f"{number:064d}", "night": NIGHT + dt.timedelta(days=night),
            "jd": START_JD + later / dt.timedelta(days=1), "observation_date": START + later, "exptime": 60.0,
            "imagetype": "Science", "filter": "V", "dialect": "generic", "bitpix": 16, "naxis": 2, "naxis1": 100,
            "naxis2": 80, "xbinning": 1, "ybinning": 1, "campaign_id": self.campaign, "field_id": self.field,
        }  # fmt: skip
        return self._enter(Pawprint(**values | columns), state)

    def measured(
        self,
        at: dt.datetime = START,
        state: str = "measured",
        *,
        fwhm: float | None = 2.0,
        limit: float | None = 20.0,
        **columns: Any,
    ) -> int:
        """A frame that was measured at a moment: FWHM in arcsec, and the magnitude of its faintest stars."""
        frame = self.frame(state=state, **columns)
        self.measure(frame, fwhm=fwhm, limiting_magnitude=limit)
        run = self.run("measure", frame)
        with self.database.write() as session:
            became = session.scalars(select(State.id).where(State.name == "measured")).one()
            session.add(
                StateChange(item_id=frame, count=1, nw_state_id=became, steprun_id=run, created_at=at)
            )
        return frame

    def measure(self, frame: int, **measures: float | None) -> None:
        """Measure a frame, once more if it was measured already."""
        run = self.run("measure", frame)
        for name, value in measures.items():
            if value is not None:
                self._add(QualityMeasure(item_id=frame, steprun_id=run, name=name, value=value))

    def _enter(self, item: Item, state: str) -> int:
        with self.database.write() as session:
            item.state_id = session.scalars(select(State.id).where(State.name == state)).one()
            item.state_count = 2
            session.add(item)
            session.flush()
            return item.id

    def _add(self, row: M) -> M:
        with self.database.write() as session:
            session.add(row)
            session.flush()
            session.expunge(row)
            return row


class NewSky(MeasuredSky):
    """Adds what is new: the field has a stack of two frames, which is its reference, when it begins."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.stacked = [self.frame(), self.frame()]
        self.stack = self.add_stack(self.stacked)
        self.reference = self.add_reference(self.stack)

    def add_stack(self, frames: list[int], state: str = "reference_chosen", **columns: Any) -> int:
        """A stack of frames of equal weight."""
        version = next(self.numbers)
        values = {
            "field_id": self.field, "set_key": "field=1|filter=V|night=all", "filter": "V", "version": version,
            "limiting_magnitude": 22.25, "fwhm": 1.5,
        }  # fmt: skip
        stack = Stack(**values | PLACE | columns)
        stack.members = [
            StackMember(pawprint_id=frame, weight=1 / len(frames), clipped=1e-4) for frame in frames
        ]
        return self._enter(stack, state)

    def add_reference(self, stack: int, **columns: Any) -> int:
        """Let a stack be the reference of the field."""
        number, run = next(self.numbers), self.run("choose_reference", stack)
        product = Product(
            item_id=stack, kind="stack", version=1, path=f"stack_{number}.fits", size=0, checksum=f"{number:064d}",
            steprun_id=run, caveats=[],
        )  # fmt: skip
        product_id = self._add(product).id
        values = {
            "field_id": self.field, "filter": "V", "fov": 0.1, "product_id": product_id, "stack_id": stack,
            "steprun_id": run, "valid_from": START,
        }  # fmt: skip
        return self._add(Reference(**values | PLACE | columns)).id

    def candidate(self, score: float | None = 0.9, **columns: Any) -> int:
        """An object of the field."""
        values = {"field_id": self.field, "score": score, "predicted": "real" if score else None}
        return self._enter(Candidate(**values | PLACE | columns), "candidate_traced")

    def seen(self, candidate: int, frame: int, mag: float | None = 17.0, **columns: Any) -> int:
        """The candidate stood out on a frame."""
        values = {
            "forced": False, "flux": 40_000.0, "flux_err": 300.0, "snr": 133.3, "mag": mag,
            "mag_err": None if mag is None else 0.01, "score": 0.9, "model_version": "simulated-1",
        }  # fmt: skip
        return self._detect(candidate, frame, values | columns)

    def looked_for(self, candidate: int, frame: int, limit: float | None = 21.7, **columns: Any) -> int:
        """The candidate was looked for on a frame, and did not stand out."""
        values = {"forced": True, "flux": 20.0, "flux_err": 100.0, "snr": 0.2, "upper_limit": limit}
        return self._detect(candidate, frame, values | columns)

    def _detect(self, candidate: int, frame: int, values: dict[str, Any]) -> int:
        values = {"steprun_id": values.get("steprun_id") or self.run(item=frame)} | PLACE | values
        row = Detection(
            candidate_id=candidate, pawprint_id=frame, reference_id=self.reference, x=50.0, y=40.0, **values
        )
        return self._add(row).id
