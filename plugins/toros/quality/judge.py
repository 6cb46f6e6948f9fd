"""The verdict on a frame: each measure gets a colour, and the worst one rules."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from toros.quality.limits import MeasureLimits, QualityLimits


class Colour(StrEnum):
    """How good something is. Colours are ordered: the greatest is the worst."""

    GREEN = "green"
    YELLOW = "yellow"
    ORANGE = "orange"
    RED = "red"

    # A string would be ordered by its letters.
    def __lt__(self, other: str) -> bool:
        return _RANK[self] < _RANK[other]

    def __le__(self, other: str) -> bool:
        return _RANK[self] <= _RANK[other]

    def __gt__(self, other: str) -> bool:
        return _RANK[self] > _RANK[other]

    def __ge__(self, other: str) -> bool:
        return _RANK[self] >= _RANK[other]


_RANK: dict[str, int] = {colour: rank for rank, colour in enumerate(Colour)}


@dataclass(frozen=True)
class Reason:
    """Why a measure is not green."""

    measure: str
    value: float
    unit: str
    limit: float | None
    """The limit that was passed; None if the value is no number."""
    colour: Colour
    meaning: str

    def __str__(self) -> str:
        name = self.measure.replace("_", " ")
        if self.limit is None:
            return f"{name} could not be measured: {self.meaning}"
        side = "above" if self.value > self.limit else "below"
        value = f"{_figure(self.value)} {self.unit}".rstrip()
        return f"{name} {value} is {side} {_figure(self.limit)}: {self.meaning}"


@dataclass(frozen=True)
class Verdict:
    """The colours of all measures that have limits, and why some of them are not green."""

    colours: Mapping[str, Colour]
    reasons: tuple[Reason, ...]
    """The worst first."""

    @property
    def colour(self) -> Colour:
        """The worst colour; green if nothing was judged."""
        return max(self.colours.values(), default=Colour.GREEN)


def judge(measures: Mapping[str, float], limits: QualityLimits, camera: str) -> Verdict:
    """Compare what was measured with its limits.

    Parameters
    ----------
    measures : mapping of str to float
        Values by name, in the units of the limits. A measure that is not there is not judged, nor is one that
        has no limits. A value that is no finite number gets the worst colour that its measure can have, and
        is never green.
    limits : QualityLimits
        Of `toros.quality.limits.read_limits`.
    camera : str
        Name of the camera's profile; one without limits of its own has the common ones.

    Returns
    -------
    Verdict
    """
    known = limits.of(camera)
    colours, reasons = {}, []
    for name in sorted(measures.keys() & known.keys()):
        value, its_limits = measures[name], known[name]
        reason = _reason(name, value, its_limits)
        if reason is not None:
            reasons.append(reason)
            colours[name] = reason.colour
        elif its_limits.ranges:
            colours[name] = Colour.GREEN
    reasons.sort(key=lambda reason: reason.colour, reverse=True)
    return Verdict(colours, tuple(reasons))


def _reason(name: str, value: float, limits: MeasureLimits) -> Reason | None:
    """Say why a value is not green, if it is not."""
    if not math.isfinite(value):
        worst = max(map(Colour, limits.ranges), default=Colour.YELLOW)
        return Reason(name, value, limits.unit, None, worst, limits.meaning)
    passed = None
    for colour, (lowest, highest) in limits.ranges.items():
        if not lowest <= value <= highest:
            passed = Colour(colour), lowest if value < lowest else highest
    return passed and Reason(name, value, limits.unit, passed[1], passed[0], limits.meaning)


def _figure(value: float) -> str:
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"
