"""The limits of quality, read from a data file (see limits.toml for what each measure means)."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from toros.errors import BadProfile

SHIPPED = Path(__file__).with_suffix(".toml")

LIMITED = ("yellow", "orange", "red")
"""The colours that begin at a limit, in their order."""

LIFTED = "none"
"""What stands in a file of one's own where a shipped limit is not wanted."""

Range = tuple[float, float]


def _limit(value: object) -> float | Range | None:
    match value:
        case None | "none":
            return None
        case bool():
            pass
        case int() | float() if math.isfinite(value):
            return float(value)
        case [int() | float() as lowest, int() | float() as highest] if lowest < highest:
            return float(lowest), float(highest)
    raise ValueError(f'{value!r} is no limit: give a number, a pair [lowest, highest], or "{LIFTED}"')


Limit = Annotated[float | Range | None, BeforeValidator(_limit)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MeasureLimits(_Table):
    """One measure: its meaning, and the limits beyond which its colour changes."""

    unit: str = ""
    """As steps record it; empty for numbers and shares."""
    bad: Literal["high", "low", "both"]
    """Which values are beyond a limit."""
    yellow: Limit = None
    orange: Limit = None
    red: Limit = None
    meaning: str = Field(min_length=1)
    """What it is, what it tells, and what to do when it is bad."""

    @model_validator(mode="after")
    def _limits_are_in_order(self) -> Self:
        for name in LIMITED:
            limit = getattr(self, name)
            if limit is not None and isinstance(limit, tuple) != (self.bad == "both"):
                wanted = "a pair [lowest, highest]" if self.bad == "both" else "one number"
                raise ValueError(f"{name} must be {wanted}, because {self.bad} values are bad")
        for (inner, (low, high)), (outer, (lowest, highest)) in pairwise(self.ranges.items()):
            if not (lowest <= low and high <= highest) or (low, high) == (lowest, highest):
                raise ValueError(
                    f"{outer} must be further out than {inner}: {getattr(self, outer)}, {getattr(self, inner)}"
                )
        return self

    @property
    def ranges(self) -> dict[str, Range]:
        """Lowest and highest value that do not have a colour yet, for each colour that has a limit."""
        limits = {name: getattr(self, name) for name in LIMITED}
        return {name: self._range(limit) for name, limit in limits.items() if limit is not None}

    def _range(self, limit: float | Range) -> Range:
        if isinstance(limit, tuple):
            return limit
        return (-math.inf, limit) if self.bad == "high" else (limit, math.inf)


class QualityLimits(_Table):
    """The limits of all measures, and what differs for single cameras."""

    measures: dict[str, MeasureLimits]
    cameras: dict[str, dict[str, MeasureLimits]] = {}
    """By the name of the camera profile; each table is complete."""

    @model_validator(mode="before")
    @classmethod
    def _complete_the_cameras(cls, tables: Any) -> Any:
        """Let a camera's table say only what differs."""
        measures, cameras = tables.get("measures"), tables.get("cameras", {})
        if not (
            _holds_tables(measures) and _holds_tables(cameras) and all(map(_holds_tables, cameras.values()))
        ):
            return tables  # the fields themselves complain
        for camera, changed in cameras.items():
            unknown = changed.keys() - measures.keys()
            if unknown:
                raise ValueError(f"cameras.{camera}: no measure is called {', '.join(sorted(unknown))}")
        completed = {
            camera: {name: measures[name] | changes for name, changes in changed.items()}
            for camera, changed in cameras.items()
        }
        return tables | {"cameras": completed}

    def of(self, camera: str) -> Mapping[str, MeasureLimits]:
        """Return the limits that hold for a camera, by measure."""
        return self.measures | self.cameras.get(camera, {})


@lru_cache(maxsize=8)
def read_limits(path: Path | None = None) -> QualityLimits:
    """Read the shipped limits, with those of a file laid over them.

    Raises
    ------
    BadProfile
        The file is not there, or does not say what it should.
    """
    try:
        tables = tomllib.loads(SHIPPED.read_text(encoding="utf-8"))
        if path is not None:
            tables = _laid_over(tables, tomllib.loads(path.read_text(encoding="utf-8")))
        return QualityLimits.model_validate(tables)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']}" for fault in error.errors()
        )
        raise _bad_file(path, faults) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _bad_file(path, str(error)) from None


def _bad_file(path: Path | None, faults: str) -> BadProfile:
    return BadProfile(
        f"{path or SHIPPED}: {faults}", advice="correct the file named in [toros] quality_limits"
    )


def _laid_over(tables: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return tables with changes: tables within tables are changed, everything else is replaced."""
    return {**tables} | {
        name: _laid_over(tables[name], change)
        if isinstance(change, dict) and isinstance(tables.get(name), dict)
        else change
        for name, change in changes.items()
    }


def _holds_tables(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(table, dict) for table in value.values())
