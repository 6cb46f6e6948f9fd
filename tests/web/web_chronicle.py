"""A stream of the night, written row by row."""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from toros.models import (
    Arrival,
    CalFile,
    Campaign,
    Combination,
    Item,
    Lineage,
    MasterCal,
    Pawprint,
    Product,
    QualityMeasure,
    Rejection,
    Software,
    State,
    StateChange,
    StepInput,
    StepRun,
)
from toros.models.database import Database
from toros.store.store import Store

NIGHT = dt.date(2026, 11, 20)
EVENING = dt.datetime(2026, 11, 21, 0, 30, tzinfo=dt.UTC)  # half past seven in Salta's mountains


class Chronicle:
    """Writes rows as the steps would, one thing that happened at a time."""

    def __init__(self, database: Database, store: Store) -> None:
        self.database = database
        self.store = store
        self._numbers = itertools.count(1)

    def run(self, step: str = "load", item_id: int | None = None, **columns: Any) -> int:
        """A step run, succeeded unless the columns say otherwise."""
        with self.database.write() as session:
            return self._add_run(session, step, item_id, columns).id

    def enter(self, item: Item, *states: str) -> int:
        """A new item, and the states it went through, each given by a run of its own."""
        with self.database.write() as session:
            ids = [session.scalars(select(State.id).where(State.name == state)).one() for state in states]
            item.state_id, item.state_count = ids[-1], len(ids)
            session.add(item)
            session.flush()
            old = None
            for count, state in enumerate(ids, start=1):
                run = self._add_run(session, "load", None, {})
                change = StateChange(item_id=item.id, count=count, old_state_id=old, nw_state_id=state)
                change.steprun_id = run.id
                session.add(change)
                old = state
            return item.id

    def frame(self, imagetype: str = "Science", state: str = "preprocessed_data", **columns: Any) -> int:
        """An exposure of the night."""
        number = next(self._numbers)
        columns = {
            "name": f"frame_{number:03d}.fits",
            "night": NIGHT,
            "observation_date": EVENING + dt.timedelta(minutes=number),
            "filter": "R",
            "object_": "M31",
            "exptime": 60.0,
        } | columns
        with self.database.read() as session:
            campaign = session.scalars(select(Campaign.id)).first()
        model = Pawprint if imagetype == "Science" else CalFile
        return self.enter(
            model(
                imagetype=imagetype,
                checksum=hashlib.sha256(f"frame {number}".encode()).hexdigest(),
                jd=2461000.5,
                dialect="generic",
                bitpix=16,
                naxis=2,
                naxis1=64,
                naxis2=64,
                xbinning=1,
                ybinning=1,
                campaign_id=campaign,
                **columns,
            ),
            *dict.fromkeys(("raw_data", state)),
        )

    def master(self, frames: list[int], state: str = "master_accepted", **columns: Any) -> int:
        """A master bias of some frames."""
        columns = {"set_key": "Bias|ccd=1|size=64x64", "night": NIGHT, "version": 1} | columns
        master = MasterCal(
            imagetype="Bias", ccd_id=1, xbinning=1, ybinning=1, naxis1=64, naxis2=64, **columns
        )
        master.combinations = [Combination(calfile_id=frame) for frame in frames]
        return self.enter(master, *dict.fromkeys(("master_wanted", state)))

    def refused(self, path: str, code: str = "truncated", at: dt.datetime = EVENING, **text: str) -> int:
        """A file that the Loader refused."""
        arrival = Arrival(path=path, size=10, mtime_ns=round(at.timestamp()) * 10**9)
        item = self.enter(arrival, "arrived", "duplicate" if code == "duplicate" else "rejected")
        run = self.run("load", item, status="failed", error_code=code, error_message="see the rejection")
        text = {"reason": "it ends too early", "advice": "copy it again"} | text
        with self.database.write() as session:
            session.add(Rejection(arrival_id=item, steprun_id=run, code=code, **text))
        return item

    def product(
        self, item_id: int, kind: str = "calibrated", content: bytes | None = b"pixels", **columns: Any
    ) -> int:
        """A product with its file; `content` None leaves the file out."""
        number = next(self._numbers)
        content = f"pixels {number}".encode() if content == b"pixels" else content
        columns = {"version": 1, "path": f"{NIGHT}/{kind}/product_{number}.dat", "caveats": []} | columns
        if content is not None:
            file = self.store.path(columns["path"])
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        row = Product(
            item_id=item_id,
            kind=kind,
            size=len(content or b""),
            checksum=hashlib.sha256(content or b"").hexdigest(),
            steprun_id=columns.pop("steprun_id", None) or self.run("preprocess", item_id),
            **columns,
        )
        with self.database.write() as session:
            session.add(row)
        return row.id

    def made_from(self, output: int, *inputs: int) -> None:
        """The lineage of a product, and what its run read."""
        with self.database.write() as session:
            run = session.get_one(Product, output).steprun_id
            session.add_all(Lineage(input_id=product, output_id=output) for product in inputs)
            session.add_all(StepInput(steprun_id=run, product_id=product) for product in inputs)

    def measure(
        self, item_id: int, name: str, value: float, unit: str = "", colour: str | None = None
    ) -> None:
        """A number about an item, by a run of its own."""
        run = self.run("clean", item_id)
        with self.database.write() as session:
            session.add(
                QualityMeasure(
                    item_id=item_id, steprun_id=run, name=name, value=value, unit=unit, colour=colour
                )
            )

    def _add_run(self, session: Session, step: str, item_id: int | None, columns: dict[str, Any]) -> StepRun:
        columns = {"status": "succeeded", "started_at": EVENING, "parameters": {}} | columns
        if columns["status"] != "running":
            columns.setdefault("ended_at", columns["started_at"] + dt.timedelta(seconds=2))
        software = session.scalar(select(Software)) or Software(
            digest="0" * 64, versions={"toros": "0.1.0", "numpy": "2.4"}
        )
        row = StepRun(
            step=step,
            step_version="1",
            parameters_hash="0" * 64,
            software=software,
            item_id=item_id,
            host="andes",
            boot="b",
            pid=4637,
            pid_started=0.0,
            **columns,
        )
        session.add(row)
        session.flush()
        return row
