"""The rules of the search for what is new, read from a data file (see survey_rules.toml for what each means)."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toros.errors import BadProfile


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FieldRules(_Table):
    """Which frames show the same region of the sky."""

    radius: float = Field(gt=0, le=0.5)


class StackRules(_Table):
    """Which frames are stacked, and when."""

    quiet_seconds: float = Field(ge=0)
    fewest_frames: int = Field(ge=2)
    most_frames: int = Field(ge=2)
    worst_fwhm: float = Field(ge=1)
    worst_trailing: float = Field(gt=0, le=1)


class ReferenceRules(_Table):
    """When a stack replaces the reference of its field."""

    least_gain: float = Field(ge=0)
    worst_fwhm: float = Field(ge=1)


class DifferenceRules(_Table):
    """How a frame is compared with the reference."""

    method: Literal["kernel", "zogy"]


class CandidateRules(_Table):
    """What is a candidate, and which candidates are one object."""

    threshold: float = Field(ge=3)
    association_radius: float = Field(gt=0)
    association_fwhm: float = Field(ge=0)
    counterpart_radius: float = Field(gt=0)
    most: int = Field(ge=1)
    stamp_fwhm: float = Field(ge=2)


class SurveyRules(_Table):
    """All rules of the search for what is new."""

    fields: FieldRules
    stacks: StackRules
    references: ReferenceRules
    differences: DifferenceRules
    candidates: CandidateRules


@lru_cache(maxsize=8)
def read_survey_rules(path: Path | None = None) -> SurveyRules:
    """Read the rules from a file; by default those that are shipped.

    Raises
    ------
    BadProfile
        The file is not there, or does not say what it should.
    """
    path = path or Path(__file__).with_suffix(".toml")
    try:
        return SurveyRules(**tomllib.loads(path.read_text()))
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise BadProfile(
            f"{path}: {error}", advice="correct the file named in [toros] survey_rules"
        ) from None
