"""The sources of a crowded frame enter the database within the one transaction of their step, beside row by row."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from benchmarks.unit import Bench, Case, Work, Wrong
from toros.config import load_settings
from toros.migrations import migrate
from toros.models import CCD, HEALPIX_ORDER, Campaign, Observatory, Pawprint, Source, utcnow
from toros.models.database import Database
from toros.science.healpix import cells_of
from toros.steps.runner import Runner
from toros.steps.step import Step
from toros.steps.step import Work as StepWork

ROWS = 20_000


class EnterFrames(Step[None, None, None]):
    """Bring frames into the stream."""

    name = "enter_frames"
    version = "1"

    def query(self, session: Session, item: None, work: StepWork) -> None:
        """Nothing is asked."""

    def load(self, session: Session, item: None, result: None, work: StepWork) -> None:
        campaign = session.scalars(select(Campaign)).first() or Campaign(
            name="benchmark",
            observatory=session.scalars(select(Observatory)).first(),
            ccd=CCD(name="benchmark", brand="", model="", xpixsize=64, ypixsize=64, profile="generic"),
        )
        for number in range(100):
            work.spawn(_frame(100 * work.run_id + number, campaign), "wcs_solved")


class EnterSources(Step[None, None, None]):
    """Add the sources of a frame as step `measure` does."""

    name = "enter_sources"
    version = "1"
    takes = Pawprint
    from_state = "wcs_solved"
    to_state = "measured"

    def query(self, session: Session, item: Pawprint, work: StepWork) -> None:
        """Nothing is asked."""

    def load(self, session: Session, item: Pawprint, result: None, work: StepWork) -> None:
        session.execute(insert(Source), list(_sources(item.id, work.run_id)))


class EnterOneByOne(EnterSources):
    """The same, an object for each."""

    name = "enter_one_by_one"

    def load(self, session: Session, item: Pawprint, result: None, work: StepWork) -> None:
        for row in _sources(item.id, work.run_id):
            session.add(Source(**row))
            session.flush()


def _frame(number: int, campaign: Campaign) -> Pawprint:
    return Pawprint(
        name=f"frame {number}",
        checksum=f"{number:064d}",
        night=dt.date(2026, 11, 20),
        jd=2461365.5,
        observation_date=utcnow(),
        exptime=60.0,
        imagetype="Science",
        dialect="generic",
        bitpix=16,
        naxis=2,
        naxis1=64,
        naxis2=64,
        xbinning=1,
        ybinning=1,
        campaign=campaign,
    )


def _sources(pawprint_id: int, steprun_id: int) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(10, 11, ROWS), rng.uniform(-25, -24, ROWS)
    names = (
        "x",
        "y",
        "flux",
        "flux_err",
        "aper_flux",
        "aper_flux_err",
        "snr",
        "fwhm",
        "ellipticity",
        "mag",
        "mag_err",
    )
    numbers = rng.uniform(0, 100, (ROWS, len(names))).tolist()
    for place in zip(
        ra.tolist(), dec.tolist(), cells_of(ra, dec, HEALPIX_ORDER).tolist(), numbers, strict=True
    ):
        yield {
            "pawprint_id": pawprint_id,
            "steprun_id": steprun_id,
            **dict(zip(("ra", "dec", "healpix"), place, strict=False)),
            **dict(zip(names, place[3], strict=True)),
            "flags": 0,
        }


def _entering(step: type[EnterSources]) -> Any:
    def prepare(bench: Bench) -> Work:
        settings = load_settings({"TOROS_DATA_ROOT": str(bench.folder)})
        database = Database(settings.database_url)
        migrate(database)
        runner = Runner(database, settings)
        frames = itertools.cycle(runner.run(EnterFrames()).spawned)

        def work() -> int:
            runner.run(step(), next(frames))
            with database.read() as session:
                return session.scalar(select(func.count()).select_from(Source)) or 0

        return work

    return prepare


def _count(rows: int) -> str:
    if rows % ROWS:
        raise Wrong(f"{rows} rows in the table")
    return f"{ROWS} rows in one transaction"


CASES = (
    Case(
        f"a step that adds {ROWS} sources (SQLite)",
        _entering(EnterSources),
        limit=16,
        library=_entering(EnterOneByOne),
        remark=_count,
    ),
)
