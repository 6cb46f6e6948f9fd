"""The rules of calibration, read from a data file (see calibration_rules.toml for what each means)."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toros.errors import BadProfile

CalibrationType = Literal["Bias", "Dark", "Flat"]
Counts = dict[CalibrationType, int]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SetRules(_Table):
    """What frames of one set share."""

    Bias: tuple[str, ...]
    Dark: tuple[str, ...]
    Flat: tuple[str, ...]
    temperature_range: float = Field(ge=1)
    """At least 1: the names of two sets of one night differ by whole degrees."""
    uncooled_temperature_range: float = Field(ge=1)


class MasterRules(_Table):
    """How a set is combined, and when its master is good."""

    quiet_seconds: float = Field(ge=0)
    fewest_frames: Counts
    enough_frames: Counts
    clipped_mean_from: int = Field(ge=5)
    clip_sigma: float = Field(ge=1)
    deviating_sigma: float = Field(gt=0)
    deviating_fraction: float = Field(gt=0, le=1)
    level_change: float = Field(gt=0)


class FlatRules(_Table):
    """Which flat frames are usable."""

    lowest_level: float = Field(ge=0, lt=1)
    highest_level: float = Field(gt=0, le=1)


class ScienceRules(_Table):
    """Which masters fit a science frame, and what to do without."""

    oldest: dict[CalibrationType, float]
    missing: dict[CalibrationType, Literal["go_on", "wait", "fail"]]
    wait_minutes: float = Field(ge=0)
    needs_one_of: tuple[CalibrationType, ...]
    exptime_tolerance: float = Field(ge=0)
    longest_dark_scale: float = Field(ge=1)
    temperature_tolerance: float = Field(gt=0)


class CalibrationRules(_Table):
    """All rules of calibration."""

    sets: SetRules
    masters: MasterRules
    flats: FlatRules
    science: ScienceRules


@lru_cache(maxsize=8)
def read_rules(path: Path | None = None) -> CalibrationRules:
    """Read the rules from a file; by default those that are shipped.

    Raises
    ------
    BadProfile
        The file is not there, or does not say what it should.
    """
    path = path or Path(__file__).with_name("calibration_rules.toml")
    try:
        return CalibrationRules(**tomllib.loads(path.read_text()))
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise BadProfile(f"{path}: {error}", advice="correct the file named in [toros] rules") from None
