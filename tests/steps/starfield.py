"""A field full of stars, its reference catalogue, and frames of it that wait to be solved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from astropy.wcs import WCS
from observing import CAMERA, NIGHT, Telescope, calibrate_lights, item_named
from sqlalchemy import select

from small_steps import state_of
from toros.catalogues.loading import add_catalogue
from toros.models import Astrometry, Pawprint, QualityMeasure, StepRun, utcnow
from toros.sim import Band, Conditions, Field, NightPlan, SimulatedCamera, camera_wcs, reference_catalogue
from toros.steps.runner import Runner
from toros.steps.solve import Solve

RA, DEC = 75.0, -25.0
"""Where the telescope of these tests looks, whatever its headers say."""
EXPTIME = 120.0
DENSITY = 80.0
"""Of the sky: about 40 stars stand out in a frame of the small camera."""

PIGGYBACK = replace(CAMERA, pixel_scale=20.0, bands=(Band("Clear", 17.0, 21.3),))
"""The same chip behind a camera lens: frames as wide as the sky on which one gets lost."""
PIGGYBACK_DENSITY = 4.0
SOFT = Conditions(seeing=50.0)
"""Stars as wide on the chip as those of the telescope."""


def load_stars(
    runner: Runner,
    camera: SimulatedCamera = CAMERA,
    *,
    density: float = DENSITY,
    faint: float = 20.0,
    columns: Mapping[str, str] | None = None,
    name: str = "sky",
    **sky: Any,
) -> None:
    """Load the catalogue of the stars on frames of a camera, and a little beyond; if asked for, some columns only,
    under other names."""
    plan = NightPlan(NIGHT, fields=(Field("M 31", RA, DEC),), density=density, **sky)
    stars = reference_catalogue(plan, camera, faint=faint)
    file = runner.settings.data_root.parent / f"{name}.fits"
    if columns:
        stars = stars[list(columns)]
        stars.rename_columns(list(columns), list(columns.values()))
    stars.write(file, overwrite=True)
    add_catalogue(file, runner.settings.catalogues, name, epoch=2000.0, now=utcnow())


def load_wide_stars(runner: Runner) -> None:
    """Load the brighter stars in 3.2 degrees around the field: no single field, for a catalogue."""
    load_stars(
        runner, replace(PIGGYBACK, shape=(800, 800)), density=PIGGYBACK_DENSITY, faint=15.5, name="wide"
    )


def pointing(camera: SimulatedCamera = CAMERA, ra: float = RA, dec: float = DEC) -> dict[str, Any]:
    """Return the cards of a capture program that was told where the telescope points, and how long it is."""
    return {"OBJCTRA": _sexagesimal(ra / 15), "OBJCTDEC": _sexagesimal(dec)} | optics(camera)


def optics(camera: SimulatedCamera = CAMERA) -> dict[str, Any]:
    """Return the cards that tell the scale."""
    focal_length = camera.pixel_size / 1000 / math.tan(math.radians(camera.pixel_scale / 3600))
    return {"XPIXSZ": camera.pixel_size, "YPIXSZ": camera.pixel_size, "FOCALLEN": round(focal_length, 2)}


def calibrated(
    runner: Runner, telescope: Telescope, *, density: float = DENSITY, conditions: Any = None, **cards: Any
) -> Pawprint:
    """Take a frame, with these cards in its header, and calibrate it."""
    (name,) = telescope.lights(EXPTIME, density=density, conditions=conditions or Conditions(), **cards)
    calibrate_lights(runner)
    frame = item_named(runner, name)
    assert isinstance(frame, Pawprint)
    assert state_of(runner, frame.id) == "preprocessed_data"
    return frame


def solved(runner: Runner, telescope: Telescope, **how: Any) -> Pawprint:
    """Take a frame, calibrate and solve it."""
    frame = calibrated(runner, telescope, **pointing(telescope.camera) | how)
    assert runner.run(Solve(), frame.id).state == "wcs_solved"
    return frame


def true_wcs(camera: SimulatedCamera = CAMERA) -> WCS:
    """Return where the camera really looks."""
    return camera_wcs(camera, RA, DEC)


def solutions(runner: Runner, frame: Pawprint) -> list[Astrometry]:
    """Return the solutions of a frame, oldest first."""
    with runner.database.read() as session:
        return list(
            session.scalars(
                select(Astrometry).where(Astrometry.pawprint_id == frame.id).order_by(Astrometry.id)
            )
        )


def measures(runner: Runner, frame: Pawprint, step: str) -> dict[str, QualityMeasure]:
    """Return what a step has measured on a frame, by its name."""
    with runner.database.read() as session:
        rows = session.scalars(
            select(QualityMeasure)
            .join(StepRun, StepRun.id == QualityMeasure.steprun_id)
            .where(QualityMeasure.item_id == frame.id, StepRun.step == step)
        )
        return {row.name: row for row in rows}


def _sexagesimal(value: float) -> str:
    seconds = round(abs(value) * 3600 * 100) / 100
    whole, rest = divmod(seconds, 3600)
    return f"{'-' if value < 0 else '+'}{whole:02.0f} {rest // 60:02.0f} {rest % 60:05.2f}"
