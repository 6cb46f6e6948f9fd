"""Clean: look at the pixels of a new exposure, and decide whether it is worth going on with.

TORITOS's cleaning corrected the image type; the Loader does that now, so what is left to clean are exposures
that are not what they claim: flats without light, saturated flats, darks taken before the sensor was cold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from toros.errors import BadFlat, WarmDark
from toros.models import CalFile, Pawprint
from toros.science.combine import level
from toros.science.geometry import Rows as PixelRows
from toros.science.geometry import trim_rows
from toros.science.noise import sky_noise
from toros.steps.calibration_rules import FlatRules, read_rules
from toros.steps.cameras import Camera, camera_of
from toros.steps.step import ProductFile, Step, Work
from toros.store import fits_file

SAMPLED_ROWS = 256
"""Rows that the noise and the saturated share are measured on: enough for two digits."""


@dataclass(frozen=True)
class Rows:
    """An exposure as plain values."""

    raw: ProductFile
    imagetype: str
    ccdtemp: float | None
    camera: Camera
    flat_rules: FlatRules


@dataclass(frozen=True)
class Inputs:
    """An exposure with its pixels."""

    rows: Rows
    raw: PixelRows


@dataclass(frozen=True)
class Measured:
    """What the pixels say (ADU)."""

    level: float
    noise: float
    saturated_fraction: float


class CleanCalibration(Step[Rows, Inputs, Measured]):
    """Measure a calibration exposure, and sort out warm darks and useless flats."""

    name = "clean_calibration"
    version = "1"
    takes = CalFile
    from_state = "raw_data"
    to_state = "cleaned_data"
    error_state = "failed_to_clean"
    groups = ("calibration",)

    def query(self, session: Session, item: CalFile, work: Work) -> Rows:
        return _rows_of(session, item, work)

    def extract(self, rows: Rows, work: Work) -> Inputs:
        return Inputs(rows, fits_file.inspect(work.open(rows.raw)).rows())

    def transform(self, inputs: Inputs) -> Measured:
        measured = measure(inputs)
        refuse_unusable(inputs.rows, measured)
        return measured

    def write(self, result: Measured, work: Work) -> None:
        record(result, work)

    def load(self, session: Session, item: CalFile, result: Measured, work: Work) -> None:  # noqa: ARG002
        item.level, item.noise = result.level, result.noise


class Clean(Step[Rows, Inputs, Measured]):
    """Measure a science exposure before anything is done to it."""

    name = "clean"
    version = "1"
    takes = Pawprint
    from_state = "raw_data"
    to_state = "cleaned_data"
    error_state = "failed_to_clean"
    groups = ("science",)

    def query(self, session: Session, item: Pawprint, work: Work) -> Rows:
        return _rows_of(session, item, work)

    def extract(self, rows: Rows, work: Work) -> Inputs:
        return Inputs(rows, fits_file.inspect(work.open(rows.raw)).rows())

    def transform(self, inputs: Inputs) -> Measured:
        return measure(inputs)

    def write(self, result: Measured, work: Work) -> None:
        record(result, work)


def measure(inputs: Inputs) -> Measured:
    """Measure level, noise and saturation of a raw frame on a sample of its rows."""
    trimmed = trim_rows(inputs.raw, inputs.rows.camera.geometry)
    raw = _sample(inputs.raw)
    return Measured(
        level=level(trimmed),
        noise=sky_noise(_sample(trimmed)),
        saturated_fraction=float(np.mean(raw >= inputs.rows.camera.saturation)),
    )


def refuse_unusable(rows: Rows, measured: Measured) -> None:
    """Refuse a dark that is too warm and a flat that is too dark or too bright.

    Raises
    ------
    WarmDark, BadFlat
    """
    limit = rows.camera.profile.dark_temperature_limit
    if rows.imagetype == "Dark" and limit is not None and rows.ccdtemp is not None and rows.ccdtemp > limit:
        raise WarmDark(f"the sensor was at {rows.ccdtemp:.1f} deg C; darks must be colder than {limit:.1f}")
    if rows.imagetype == "Flat":
        full = rows.camera.saturation
        lowest, highest = rows.flat_rules.lowest_level * full, rows.flat_rules.highest_level * full
        if not lowest <= measured.level <= highest:
            raise BadFlat(f"its median is {measured.level:.0f} ADU; usable are {lowest:.0f} to {highest:.0f}")


def record(measured: Measured, work: Work) -> None:
    """Record what was measured."""
    work.measure("raw_level", measured.level, "adu")
    work.measure("raw_noise", measured.noise, "adu")
    work.measure("saturated_fraction", measured.saturated_fraction)


def _rows_of(session: Session, item: CalFile | Pawprint, work: Work) -> Rows:
    rules = read_rules(work.settings.rules)
    raw = ProductFile.newest(session, item, "raw")
    return Rows(raw, item.imagetype, item.ccdtemp, camera_of(item, work.settings), rules.flats)


def _sample(frame: PixelRows) -> NDArray[Any]:
    height = frame.shape[0]
    blocks = 8
    rows = min(height, SAMPLED_ROWS) // blocks or 1
    starts = np.linspace(0, height - rows, min(blocks, height), dtype=int)
    return np.concatenate([frame[slice(int(start), int(start) + rows)] for start in starts])
