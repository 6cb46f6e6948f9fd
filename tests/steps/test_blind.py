"""A frame of which nothing tells where it points finds its place by astrometry.net, where that is installed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from observing import Telescope, attempt
from starfield import PIGGYBACK, PIGGYBACK_DENSITY, SOFT, calibrated, load_wide_stars, solutions

from toros.catalogues import open_catalogue
from toros.catalogues.astrometry_net import build_index, find_programs
from toros.errors import ProgramMissing
from toros.steps.blind import INDEXES
from toros.steps.runner import Runner
from toros.steps.solve import RetrySolve, Solve


@pytest.fixture
def installed() -> None:
    try:
        find_programs()
    except ProgramMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def indexed(prepared: Runner, installed: None) -> Runner:
    """The night, with a catalogue of much more than a field, and its index."""
    load_wide_stars(prepared)
    catalogues = prepared.settings.catalogues
    wide = open_catalogue(catalogues, "wide")
    middle = wide.description.coverage
    build_index(wide.cone(middle.ra, middle.dec, middle.radius), catalogues / INDEXES / "wide", 0.5)
    return prepared


def test_astrometry_net_places_a_frame_without_any_hint(indexed: Runner, on_sky: Telescope) -> None:
    lens = replace(on_sky, camera=PIGGYBACK)
    frame = calibrated(indexed, lens, density=PIGGYBACK_DENSITY, conditions=SOFT)
    assert attempt(indexed, Solve(), frame.id) == "no_pointing"
    assert attempt(indexed, RetrySolve(), frame.id) == "wcs_solved"
    (row,) = solutions(indexed, frame)
    assert (row.method, row.catalogue) == ("blind", "wide")
    assert row.pixel_scale == pytest.approx(PIGGYBACK.pixel_scale, rel=1e-3)
