"""The planet TrES-1 b crosses its star: the light curve that comes out of the pipeline's own steps shows it."""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from observing import CALIBRATION, observatory_in, run_waiting
from sqlalchemy import select

from toros.catalogues.loading import add_catalogue
from toros.models import Astrometry, Pawprint, utcnow
from toros.science.light_curve_plot import draw_light_curve
from toros.steps.clean import Clean
from toros.steps.discover import Discover
from toros.steps.light_curves import ObservedLightCurve, light_curve_of
from toros.steps.load import Load
from toros.steps.measure import Measure
from toros.steps.preprocess import Preprocess
from toros.steps.runner import Runner
from toros.steps.solve import RetrySolve, Solve

TRES_1 = (286.0410, 36.6326)
MID_TRANSIT = 2456095.675
"""JD (UTC), from the whole series of 209 frames."""
DURATION, INGRESS = 0.1042, 0.013
"""Days from first to last contact, and from first to second (Winn et al. 2007, AJ 133, 1828)."""
FRAMES = 53


@pytest.fixture(scope="module")
def measured(real_frames: Path, tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Runner:
    """The night after all steps; nothing in its headers tells where the telescope pointed, or its scale."""
    folder = tmp_path_factory.mktemp("tres1")
    shutil.copyfile(sqlite_template, folder / "toros.db")
    runner = observatory_in(folder)
    runner = replace(runner, settings=replace(runner.settings, inbox=(real_frames / "tres1",)))
    stars = real_frames / "reference_stars" / "tres1.csv"
    add_catalogue(stars, runner.settings.catalogues, "tycho2", epoch=2000.0, now=utcnow())
    runner.run(Discover())
    run_waiting(runner, Load)
    later = replace(runner, clock=lambda: runner.clock() + dt.timedelta(minutes=5))
    run_waiting(later, *CALIBRATION, Clean, Preprocess, Solve, RetrySolve, Measure)
    return runner


@pytest.fixture(scope="module")
def light_curve(measured: Runner) -> ObservedLightCurve:
    with measured.database.read() as session:
        return light_curve_of(session, *TRES_1)


def test_every_frame_finds_its_place_and_is_measured(measured: Runner) -> None:
    with measured.database.read() as session:
        states = [frame.state.name for frame in session.scalars(select(Pawprint))]
        solutions = session.scalars(select(Astrometry)).all()
    assert states == ["measured"] * FRAMES
    assert all(solution.mirrored for solution in solutions)
    assert np.ptp([solution.pixel_scale for solution in solutions]) < 0.001 * solutions[0].pixel_scale


def test_the_transit_is_as_deep_and_as_late_as_in_the_whole_series(light_curve: ObservedLightCurve) -> None:
    points = light_curve.table
    assert len(points) == FRAMES

    depth, error, middle = transit_in(
        np.asarray(points["jd"]), np.asarray(points["flux"]), np.asarray(points["flux_err"])
    )

    assert 0.015 <= depth <= 0.022
    assert error <= 0.0025
    assert middle == pytest.approx(MID_TRANSIT, abs=0.008)  # a tenth of the transit


def test_the_light_curve_can_be_looked_at(light_curve: ObservedLightCurve) -> None:
    plot = draw_light_curve(light_curve.table, title="TrES-1")
    assert plot.startswith(b"\x89PNG")


def transit_in(
    jd: NDArray[np.float64], flux: NDArray[np.float64], error: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Fit a trapezoid of known length on a straight line; return depth, its error (from the scatter), and middle."""
    best = (np.inf, 0.0, 0.0, 0.0)
    for middle in np.arange(MID_TRANSIT - 0.03, MID_TRANSIT + 0.03, 0.0005):
        dip = np.clip((DURATION / 2 - np.abs(jd - middle)) / INGRESS, 0, 1)
        design = np.stack([np.ones_like(jd), jd - MID_TRANSIT, -dip], axis=1) / error[:, np.newaxis]
        solution, (chi2,), _, _ = np.linalg.lstsq(design, flux / error, rcond=None)
        if chi2 < best[0]:
            variance = np.linalg.inv(design.T @ design)[2, 2] * chi2 / (len(jd) - 4)
            best = (chi2, solution[2] / solution[0], float(np.sqrt(variance)), middle)
    return best[1], best[2], best[3]
