"""A whole simulated night in which everything goes wrong that goes wrong at telescopes."""

from __future__ import annotations

import datetime as dt
import os
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from numpy.typing import NDArray
from observing import CALIBRATION, attempt, ingest, knowing, observatory_in, run_waiting
from sqlalchemy import select

from small_steps import check
from toros.demo.night import EXPECTED_REJECTIONS
from toros.migrations import migrate
from toros.models import Arrival, Item, Lineage, MasterCal, Model, Pawprint, Product, Rejection
from toros.sim import Incident, NightPlan, SimulatedFrame, azulcito, fields_of_the_night, simulate_night
from toros.steps.clean import Clean
from toros.steps.discover import Discover
from toros.steps.load import Load
from toros.steps.preprocess import Preprocess
from toros.steps.runner import Runner

NIGHT = dt.date(2026, 11, 20)
CAMERA = azulcito((96, 96))
RECORDS = {"steprun", "software"}
"""Tables that tell what was tried; a night that is looked at twice is tried twice."""


@pytest.fixture(scope="module")
def frames() -> tuple[SimulatedFrame, ...]:
    """The files of a night with every incident there is, in the order in which they are written."""
    fields = tuple(replace(field, exposures=3) for field in fields_of_the_night(NIGHT, count=2))
    plan = NightPlan(
        NIGHT, bias=5, darks=((120.0, 5),), flats=5, fields=fields, incidents=tuple(Incident), dither=2.0
    )
    return tuple(simulate_night(plan, CAMERA, seed=1))


def _observe(folder: Path, frames: tuple[SimulatedFrame, ...]) -> Runner:
    """Return a new observatory whose camera has written these files, one after the other."""
    runner = knowing(observatory_in(folder), CAMERA)
    migrate(runner.database)
    (folder / "inbox").mkdir(parents=True)
    for number, frame in enumerate(frames):
        path = folder / "inbox" / frame.name
        frame.write(path)
        os.utime(path, (time.time() - 3600 + number,) * 2)
    return runner


def _process(runner: Runner, *, backwards: bool = False) -> Counter[str]:
    """Run all steps on all that waits, as the two DAGs do."""
    if backwards:
        found = runner.run(Discover()).spawned
        ends = Counter(attempt(runner, Load(), item) for item in reversed(found))
    else:
        ends = Counter(ingest(runner).values())
    later = replace(runner, clock=lambda: runner.clock() + dt.timedelta(minutes=5))
    return ends + run_waiting(later, *CALIBRATION, Clean, Preprocess)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, frames: tuple[SimulatedFrame, ...]) -> Runner:
    """The night, processed."""
    runner = _observe(tmp_path_factory.mktemp("night"), frames)
    _process(runner)
    return runner


def _tables(runner: Runner) -> dict[str, list[Any]]:
    with runner.database.read() as session:
        return {
            table.name: sorted(session.execute(select(table)).all(), key=repr)
            for table in Model.metadata.sorted_tables
            if table.name not in RECORDS
        }


def _pixels(runner: Runner) -> dict[tuple[str, str], dict[str, NDArray[Any]]]:
    """Return the planes of every product that was made, by what it shows."""
    made = {}
    with runner.database.read() as session:
        for product in session.scalars(select(Product).where(Product.kind != "raw")):
            item = session.get_one(Item, product.item_id)
            # Of two copies the first one gives the name: the content tells which exposure it is.
            name = item.set_key if isinstance(item, MasterCal) else item.checksum  # type: ignore[attr-defined]
            with fits.open(runner.store.path(product.path)) as hdus:
                made[product.kind, name] = {hdu.name: np.array(hdu.data) for hdu in hdus}
    return made


# ------------------------------------------------------------------------------------------------ the night


def test_every_file_is_accounted_for(night: Runner, frames: tuple[SimulatedFrame, ...]) -> None:
    with night.database.read() as session:
        arrivals = {Path(a.path).name: a.state.name for a in session.scalars(select(Arrival))}
        codes = {
            Path(arrival.path).name: rejection.code
            for arrival, rejection in session.execute(select(Arrival, Rejection).join(Arrival.rejection))
        }
    assert set(arrivals) == {frame.name for frame in frames}
    expected = {
        frame.name: EXPECTED_REJECTIONS[frame.incident]
        for frame in frames
        if frame.incident in EXPECTED_REJECTIONS
    }
    assert codes == expected
    assert len(expected) == len(EXPECTED_REJECTIONS)
    for name, state in arrivals.items():
        assert (state == "registered") == (name not in expected)


def test_every_science_frame_is_calibrated_without_a_caveat(
    night: Runner, frames: tuple[SimulatedFrame, ...]
) -> None:
    lights = {
        frame.name for frame in frames if frame.kind == "light" and frame.incident not in EXPECTED_REJECTIONS
    }
    with night.database.read() as session:
        states = {frame.name: frame.state.name for frame in session.scalars(select(Pawprint))}
        calibrated = session.scalars(select(Product).where(Product.kind == "calibrated")).all()
    assert states == dict.fromkeys(lights, "preprocessed_data")
    assert len(calibrated) == len(lights)
    assert [product.caveats for product in calibrated] == [[]] * len(lights)


def test_database_and_files_tell_the_same_story(night: Runner) -> None:
    report = check(night)
    assert report.ok, report.violations
    assert report.checked["watched files"] == report.checked["items"] - _later_items(night)
    assert report.waiting == 0


def _later_items(runner: Runner) -> int:
    """Count the items that are not files of the watched folder."""
    with runner.database.read() as session:
        return sum(item.kind != "Arrival" for item in session.scalars(select(Item)))


def test_running_everything_twice_changes_nothing(night: Runner) -> None:
    before, files = _tables(night), sorted(night.store.files())
    ends = _process(night)
    assert set(ends) == {"nothing_to_do"}
    assert _tables(night) == before
    assert sorted(night.store.files()) == files
    assert check(night).ok


def test_another_order_in_another_place_gives_the_same_pixels(
    night: Runner, frames: tuple[SimulatedFrame, ...], tmp_path: Path
) -> None:
    elsewhere = _observe(tmp_path / "elsewhere", frames)
    _process(elsewhere, backwards=True)
    ours, theirs = _pixels(night), _pixels(elsewhere)
    assert {kind for kind, _ in ours} == {"master", "calibrated"}
    assert {name: set(planes) for name, planes in ours.items()} == {
        name: set(planes) for name, planes in theirs.items()
    }
    for name, planes in ours.items():
        for plane, pixels in planes.items():
            np.testing.assert_array_equal(pixels, theirs[name][plane], err_msg=f"{name} {plane}")


def test_the_masters_of_the_night_are_behind_every_calibrated_frame(night: Runner) -> None:
    with night.database.read() as session:
        masters = set(session.scalars(select(Product.id).where(Product.kind == "master")))
        calibrated = session.scalars(select(Product.id).where(Product.kind == "calibrated")).all()
        for product in calibrated:
            parents = set(session.scalars(select(Lineage.input_id).where(Lineage.output_id == product)))
            assert masters < parents
            assert len(parents) == len(masters) + 1
