"""Which band of a catalogue serves which filter, read from a data file (see photometry_rules.toml)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from toros.errors import BadProfile, NoCatalogue

NO_FILTER = "none"

_UNMISTAKABLE = 3
"""Letters from which on the case of a name does not matter: R is not r, but SDSS R is SDSS r."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OtherRules(_Table):
    """The bands for filters that have no rule of their own."""

    bands: tuple[str, ...] = Field(min_length=1)
    """The best first."""
    colours: tuple[str, ...] = ()
    """For the colour term: two bands with a minus between them, the best first."""


class FilterRules(OtherRules):
    """The bands for one filter under all its names."""

    names: tuple[str, ...] = Field(min_length=1)
    own: tuple[str, ...] = ()
    """Those of `bands` that are the filter's own."""


@dataclass(frozen=True)
class ReferenceBand:
    """What a frame's magnitudes are to refer to."""

    band: str
    colour: tuple[str, str] | None
    """Two bands whose difference is the colour of the colour term, if the catalogue has such."""
    reference_colour: float
    """The Sun's; zero without a colour."""
    approximate: bool
    """Whether the band is only like the filter's: the caveat band_approximate."""


class PhotometryRules(_Table):
    """All rules about bands."""

    filter: tuple[FilterRules, ...]
    other: OtherRules
    sun: dict[str, float]

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [name for rule in self.filter for name in rule.names]
        if len(set(names)) < len(names):
            raise ValueError("a name of a filter stands in two places")
        for rule in (*self.filter, self.other):
            unknown = [colour for colour in rule.colours if colour not in self.sun]
            if unknown:
                raise ValueError(f"the Sun's {', '.join(unknown)} is not given")
        for rule in self.filter:
            if not {*rule.own} <= {*rule.bands}:
                raise ValueError(f"{rule.names[0]}: not all of its own bands are among its bands")
        return self

    def bands_for(self, name: str | None) -> tuple[str, ...]:
        """Return the bands that may serve a filter, the best first."""
        return self._rule_of(name).bands

    def reference_band(self, name: str | None, available: Collection[str]) -> ReferenceBand:
        """Choose the band for a filter among those of a catalogue.

        Parameters
        ----------
        name : str or None
            What the FILTER card says; None without a filter.
        available : collection of str
            Bands of the catalogue.

        Raises
        ------
        NoCatalogue
            None of them will do.
        """
        rule = self._rule_of(name)
        band = next((band for band in rule.bands if band in available), None)
        if band is None:
            raise NoCatalogue(
                f"no band for the filter {name or NO_FILTER} among {', '.join(available) or 'none at all'}",
                advice=f"load a catalogue with one of {', '.join(rule.bands)}: `toros catalogue add FILE`",
            )
        pairs = ((colour, _pair(colour)) for colour in rule.colours)
        colour, pair = next(((c, p) for c, p in pairs if {*p} <= {*available}), ("", None))
        own = rule.own if isinstance(rule, FilterRules) else ()
        return ReferenceBand(band, pair, self.sun.get(colour, 0.0), band not in own)

    def _rule_of(self, name: str | None) -> OtherRules:
        wanted = name or NO_FILTER
        exact = (rule for rule in self.filter if wanted in rule.names)
        alike = (rule for rule in self.filter if _normalised(wanted) in map(_normalised, rule.names))
        found = next(exact, None)
        if found is None and len(_normalised(wanted)) >= _UNMISTAKABLE:
            found = next(alike, None)
        return found or self.other


@lru_cache(maxsize=8)
def read_photometry_rules(path: Path | None = None) -> PhotometryRules:
    """Read the rules from a file; by default those that are shipped.

    Raises
    ------
    BadProfile
        The file is not there, or does not say what it should.
    """
    path = path or Path(__file__).with_name("photometry_rules.toml")
    try:
        return PhotometryRules(**tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise BadProfile(
            f"{path}: {error}", advice="correct the file named in [toros] photometry_rules"
        ) from None


def _pair(colour: str) -> tuple[str, str]:
    blue, _, red = colour.partition("-")
    return blue, red


def _normalised(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()
