"""What an item is, by its own columns."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from operator import attrgetter

from toros.models import Arrival, CalFile, Candidate, Item, MasterCal, Pawprint, Stack


@dataclass(frozen=True)
class Fact:
    """Something an item's own columns say."""

    label: str
    value: str | int | float | dt.date | dt.datetime
    unit: str = ""


_EXPOSURE = (
    ("Type", "imagetype", ""),
    ("Object", "object_", ""),
    ("Filter", "filter", ""),
    ("Exposure time", "exptime", "s"),
    ("Start (UT)", "observation_date", ""),
    ("Night", "night", ""),
    ("Camera", "campaign.ccd.name", ""),
    ("Observatory", "campaign.observatory.name", ""),
    ("Campaign", "campaign.name", ""),
    ("Observer", "observer", ""),
    ("Columns", "naxis1", "pixels"),
    ("Rows", "naxis2", "pixels"),
    ("Binning x", "xbinning", ""),
    ("Binning y", "ybinning", ""),
    ("Sensor temperature", "ccdtemp", "°C"),
    ("Set temperature", "set_temp", "°C"),
    ("Gain setting", "gain_setting", ""),
    ("Offset setting", "offset_setting", ""),
    ("Read-out mode", "readoutm", ""),
    ("Pointing, right ascension", "ra", "°"),
    ("Pointing, declination", "dec", "°"),
    ("Header dialect", "dialect", ""),
    ("SHA-256", "checksum", ""),
)

_COLUMNS: dict[type[Item], tuple[tuple[str, str, str], ...]] = {
    Arrival: (("Path", "path", ""), ("Size", "size", "bytes")),
    Pawprint: _EXPOSURE,
    CalFile: _EXPOSURE,
    MasterCal: (
        ("Type", "imagetype", ""),
        ("Set", "set_key", ""),
        ("Night", "night", ""),
        ("Version", "version", ""),
        ("Camera", "ccd.name", ""),
        ("Filter", "filter", ""),
        ("Exposure time", "exptime", "s"),
        ("Set temperature", "set_temp", "°C"),
        ("Bias level still in it", "has_bias", ""),
    ),
    Stack: (
        ("Field", "field.name", ""),
        ("Filter", "filter", ""),
        ("Night", "night", ""),
        ("Version", "version", ""),
        ("Zero point", "zero_point", "mag"),
        ("FWHM", "fwhm", "arcsec"),
        ("Limiting magnitude", "limiting_magnitude", "mag"),
    ),
    Candidate: (
        ("Field", "field.name", ""),
        ("Right ascension", "ra", "°"),
        ("Declination", "dec", "°"),
        ("What it may be", "kind_of_object", ""),
        ("At its place", "counterpart", ""),
        ("Score", "score", ""),
        ("Predicted", "predicted", ""),
    ),
}
"""For each kind: label, column (dots lead to related rows), unit."""


def facts_of(item: Item) -> tuple[Fact, ...]:
    """Return what the columns of an item say."""
    facts = []
    for label, column, unit in _COLUMNS.get(type(item), ()):
        value = attrgetter(column)(item)
        if isinstance(value, bool):
            value = "yes" if value else "no"
        if value is not None:
            facts.append(Fact(label, value, unit))
    return tuple(facts)
