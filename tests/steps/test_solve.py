"""A frame finds its place on the sky: from its header, from its neighbours, from a wide search, or from a person."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from observing import CAMERA, Telescope, attempt, calibrate_lights, item_named, products
from PIL import Image
from sqlalchemy import select
from starfield import (
    DEC,
    EXPTIME,
    PIGGYBACK,
    PIGGYBACK_DENSITY,
    RA,
    SOFT,
    calibrated,
    load_stars,
    load_wide_stars,
    measures,
    pointing,
    solutions,
    solved,
    true_wcs,
)

from small_steps import check, last_run, state_of
from toros.models import Lineage, Pawprint
from toros.models.base import HEALPIX_ORDER
from toros.science.healpix import cells_of
from toros.sim import SimulatedCamera
from toros.steps.runner import Runner
from toros.steps.solve import HandSolve, RetrySolve, Review, Solve

OLD_WCS = {
    "CTYPE1": "RA---TAN-SIP",
    "CTYPE2": "DEC--TAN-SIP",
    "CRVAL1": RA + 0.05,
    "CRVAL2": DEC,
    "CRPIX1": 60.0,
    "CRPIX2": 40.0,
    "CDELT1": CAMERA.pixel_scale / 3600,
    "CDELT2": CAMERA.pixel_scale / 3600,
    "CROTA1": 33.0,
    "CROTA2": 33.0,
    "A_ORDER": 2,
    "B_ORDER": 2,
    "A_2_0": 1e-3,
    "A_0_2": 2e-3,
    "B_1_1": 1e-3,
    "PV2_1": 0.2,
    "LTM1_1": 1.0,
    "LTV1": 0.0,
    "RADECSYS": "FK5",
    "EQUINOX": 1950.0,
}
"""What an earlier plate solution might have left, all of it wrong."""


NONSENSE = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 10.0,
    "CRVAL2": 10.0,
    "CRPIX1": 0.0,
    "CRPIX2": 0.0,
    "CDELT1": 1.0,
    "CDELT2": 1.0,
}
"""What a capture program writes that has never seen a star."""


NOT_THIS_SKY = {"no_plate_solution", "too_few_stars"}
"""Which of them depends on how deep the catalogue is."""


@pytest.fixture
def with_stars(prepared: Runner) -> Runner:
    """The night, and the catalogue of its field."""
    load_stars(prepared)
    return prepared


@pytest.fixture
def under_a_wide_sky(prepared: Runner) -> Runner:
    """The night, and a catalogue of much more than a field."""
    load_wide_stars(prepared)
    return prepared


@pytest.fixture
def piggyback(on_sky: Telescope) -> Telescope:
    """The camera behind a lens."""
    return replace(on_sky, camera=PIGGYBACK)


def _wide(runner: Runner, telescope: Telescope, **cards: Any) -> Pawprint:
    return calibrated(runner, telescope, density=PIGGYBACK_DENSITY, conditions=SOFT, **cards)


def _file(runner: Runner, frame: Pawprint, version: int = -1) -> Path:
    return runner.store.path(products(runner, frame, "calibrated")[version].path)


def _pixels_off(runner: Runner, frame: Pawprint, camera: SimulatedCamera = CAMERA) -> float:
    """Return how far the stored WCS is from the truth, in pixels: the root of the mean square over the frame."""
    ny, nx = camera.shape
    x, y = (grid.ravel() for grid in np.meshgrid(np.linspace(0, nx - 1, 9), np.linspace(0, ny - 1, 7)))
    sky = WCS(fits.getheader(_file(runner, frame))).all_pix2world(x, y, 0)
    there = true_wcs(camera).all_world2pix(*sky, 0)
    return float(np.sqrt(np.mean((there[0] - x) ** 2 + (there[1] - y) ** 2)))


# ------------------------------------------------------------------------------------- from the header


@pytest.mark.parametrize(("mirrored", "rotation"), [(True, 1.3), (False, 77.0), (True, -170.0)])
def test_a_frame_agrees_with_the_true_sky_however_the_camera_is_turned(
    with_stars: Runner, on_sky: Telescope, mirrored: bool, rotation: float
) -> None:
    camera = replace(CAMERA, mirrored=mirrored, rotation=rotation)
    frame = solved(with_stars, replace(on_sky, camera=camera))

    assert _pixels_off(with_stars, frame, camera) < 0.1
    (row,) = solutions(with_stars, frame)
    assert (row.method, row.catalogue, row.mirrored) == ("header", "sky", mirrored)
    assert row.pixel_scale == pytest.approx(CAMERA.pixel_scale, rel=1e-3)
    assert (row.rotation - rotation + 180) % 360 - 180 == pytest.approx(0.0, abs=0.1)
    assert (row.ra, row.dec) == pytest.approx((RA, DEC), abs=0.1 * CAMERA.pixel_scale / 3600)
    assert row.healpix == int(cells_of(row.ra, row.dec, HEALPIX_ORDER))
    assert row.rms < 0.1
    assert row.n_stars >= 12


def test_the_new_version_is_the_old_frame_with_a_wcs(with_stars: Runner, on_sky: Telescope) -> None:
    frame = calibrated(with_stars, on_sky, **pointing())
    before = _file(with_stars, frame).read_bytes()
    assert attempt(with_stars, Solve(), frame.id) == "wcs_solved"

    first, second = products(with_stars, frame, "calibrated")
    assert (first.version, second.version) == (1, 2)
    assert second.caveats == first.caveats
    assert _file(with_stars, frame, 0).read_bytes() == before, "nothing is overwritten"
    for plane in ("DATA", "MASK"):
        old, new = (fits.getdata(_file(with_stars, frame, version), plane) for version in (0, 1))
        np.testing.assert_array_equal(new, old)
    header = fits.getheader(_file(with_stars, frame))
    assert WCS(header).has_celestial
    assert (header["OBJECT"], header["STEPRUN"], header["ASTRCAT"]) == ("M 31", second.steprun_id, "sky")
    with with_stars.database.read() as session:
        parents = session.scalars(select(Lineage.input_id).where(Lineage.output_id == second.id)).all()
    assert parents == [first.id]
    assert check(with_stars).ok


def test_no_card_of_an_older_wcs_stays(with_stars: Runner, on_sky: Telescope) -> None:
    frame = solved(with_stars, on_sky, **OLD_WCS)
    header = fits.getheader(_file(with_stars, frame))
    assert _pixels_off(with_stars, frame) < 0.1
    assert not {"CROTA1", "CROTA2", "PV2_1", "LTM1_1", "LTV1", "RADECSYS", "EQUINOX"} & set(header)
    assert header.get("A_2_0") != OLD_WCS["A_2_0"]


def test_cards_that_only_sound_like_a_wcs_stay(with_stars: Runner, on_sky: Telescope) -> None:
    others = {"CDATE": "today", "PCNAME": "dome", "CDELTM1": 0.009, "CD-TEMP": -20.0, "PVOLT": 12.1}
    frame = solved(with_stars, on_sky, **others)
    header = fits.getheader(_file(with_stars, frame))
    assert {name: header.get(name) for name in others} == others


def test_the_pointing_of_the_telescope_is_measured(with_stars: Runner, on_sky: Telescope) -> None:
    frame = solved(with_stars, on_sky, **pointing(dec=DEC + 0.2))
    (row,) = solutions(with_stars, frame)
    measured = measures(with_stars, frame, "solve")
    assert row.offset == pytest.approx(720, abs=0.5)
    assert (measured["pointing_offset"].value, measured["pointing_offset"].unit) == (
        pytest.approx(12, abs=0.01),
        "arcmin",
    )
    assert (measured["astrometric_rms"].value, measured["astrometric_rms"].unit) == (row.rms, "arcsec")
    assert measured["astrometric_stars"].value == row.n_stars


def test_solving_twice_changes_nothing(with_stars: Runner, on_sky: Telescope) -> None:
    frame = solved(with_stars, on_sky)
    assert with_stars.run(Solve(), frame.id).again
    assert len(solutions(with_stars, frame)) == 1
    assert len(products(with_stars, frame, "calibrated")) == 2


def test_a_frame_waits_for_a_catalogue(prepared: Runner, on_sky: Telescope) -> None:
    frame = calibrated(prepared, on_sky, **pointing())
    assert attempt(prepared, Solve(), frame.id) == "no_catalogue"
    assert "toros catalogue add" in (last_run(prepared).error_message or "")
    assert state_of(prepared, frame.id) == "preprocessed_data"
    load_stars(prepared)
    assert attempt(prepared, Solve(), frame.id) == "wcs_solved"


def test_a_wcs_of_the_capture_program_is_a_hint(with_stars: Runner, on_sky: Telescope) -> None:
    frame = calibrated(with_stars, on_sky, **OLD_WCS)
    assert attempt(with_stars, Solve(), frame.id) == "wcs_solved"
    (row,) = solutions(with_stars, frame)
    assert row.method == "header wcs"
    assert _pixels_off(with_stars, frame) < 0.1


@pytest.mark.parametrize(
    "cards",
    [NONSENSE, {"CRVAL1": 0.0, "CRVAL2": 0.0, "CDELT1": 1.0, "CDELT2": 1.0}, NONSENSE | {"CDELT1": 0.0}],
    ids=["a degree per pixel", "linear axes", "a singular matrix"],
)
def test_a_nonsense_wcs_is_not_believed(with_stars: Runner, on_sky: Telescope, cards: dict[str, Any]) -> None:
    lost = calibrated(with_stars, on_sky, **cards)
    assert attempt(with_stars, Solve(), lost.id) == "no_pointing"


# ---------------------------------------------------------------------------------- without a good hint


def test_a_catalogue_of_a_single_field_tells_where_to_look(prepared: Runner, on_sky: Telescope) -> None:
    load_stars(prepared, faint=19.0)
    frame = calibrated(prepared, on_sky)
    assert attempt(prepared, Solve(), frame.id) == "no_pointing"
    assert state_of(prepared, frame.id) == "failed_wcs_solve"
    assert attempt(prepared, RetrySolve(), frame.id) == "wcs_solved"
    (row,) = solutions(prepared, frame)
    assert row.method == "catalogue"
    assert _pixels_off(prepared, frame) < 0.2
    assert "pointing_offset" not in measures(prepared, frame, "retry_solve"), "nobody pointed it anywhere"


def test_a_frame_is_where_the_one_before_it_was(with_stars: Runner, on_sky: Telescope) -> None:
    solved(with_stars, on_sky)
    silent = calibrated(with_stars, on_sky)
    assert attempt(with_stars, Solve(), silent.id) == "wcs_solved"
    assert solutions(with_stars, silent)[0].method == "neighbour"
    assert _pixels_off(with_stars, silent) < 0.1


def test_a_frame_beside_it_that_was_solved_since_helps_the_retry(
    under_a_wide_sky: Runner, piggyback: Telescope
) -> None:
    silent = _wide(under_a_wide_sky, piggyback)
    told = _wide(under_a_wide_sky, piggyback, **pointing(PIGGYBACK))
    assert attempt(under_a_wide_sky, Solve(), silent.id) == "no_pointing"
    assert attempt(under_a_wide_sky, Solve(), told.id) == "wcs_solved"
    assert attempt(under_a_wide_sky, RetrySolve(), silent.id) == "wcs_solved"
    assert solutions(under_a_wide_sky, silent)[0].method == "neighbour"
    assert _pixels_off(under_a_wide_sky, silent, PIGGYBACK) < 0.3


def test_a_frame_of_another_field_is_no_neighbour(with_stars: Runner, on_sky: Telescope) -> None:
    told = solved(with_stars, on_sky)
    name = on_sky.write("light", on_sky.truth[told.name], EXPTIME, OBJECT="NGC 7023")
    calibrate_lights(with_stars)
    assert attempt(with_stars, Solve(), item_named(with_stars, name).id) == "no_pointing"


def test_a_frame_of_another_night_is_no_neighbour(with_stars: Runner, on_sky: Telescope) -> None:
    solved(with_stars, on_sky)
    later = calibrated(with_stars, on_sky.next_night())
    assert attempt(with_stars, Solve(), later.id) == "no_pointing"


def test_a_telescope_lost_by_a_degree_and_a_half_is_found_again(
    under_a_wide_sky: Runner, piggyback: Telescope
) -> None:
    frame = _wide(under_a_wide_sky, piggyback, **pointing(PIGGYBACK, dec=DEC + 1.5))
    assert attempt(under_a_wide_sky, Solve(), frame.id) == "no_plate_solution"
    assert attempt(under_a_wide_sky, RetrySolve(), frame.id) == "wcs_solved"
    (row,) = solutions(under_a_wide_sky, frame)
    assert row.method == "wide"
    assert row.offset == pytest.approx(5400, abs=20)
    assert _pixels_off(under_a_wide_sky, frame, PIGGYBACK) < 0.3


# ------------------------------------------------------------------------------------- the review list


def test_a_frame_of_another_sky_goes_to_a_person_with_reason_and_picture(
    prepared: Runner, on_sky: Telescope
) -> None:
    load_stars(prepared, sky_seed=7, faint=17.0)
    frame = calibrated(prepared, on_sky, **pointing())
    assert attempt(prepared, Solve(), frame.id) in NOT_THIS_SKY
    assert state_of(prepared, frame.id) == "failed_wcs_solve"
    assert attempt(prepared, RetrySolve(), frame.id) in NOT_THIS_SKY
    assert state_of(prepared, frame.id) == "failed_wcs_retry"
    reason = last_run(prepared).error_message
    assert attempt(prepared, Review(), frame.id) == "wcs_review"

    assert last_run(prepared).remark == reason
    (picture,) = products(prepared, frame, "picture")
    with Image.open(prepared.store.path(picture.path)) as image:
        assert image.format == "PNG"
        assert np.asarray(image.convert("L")).std() > 10, "there is something to be seen"
    assert solutions(prepared, frame) == []
    assert prepared.run(Review(), frame.id).again
    assert check(prepared).ok


def test_a_person_places_a_frame_that_nothing_else_could(
    under_a_wide_sky: Runner, piggyback: Telescope
) -> None:
    runner, frame = under_a_wide_sky, _wide(under_a_wide_sky, piggyback)
    assert attempt(runner, Solve(), frame.id) == "no_pointing"
    assert attempt(runner, RetrySolve(), frame.id) == "no_pointing"
    assert attempt(runner, Review(), frame.id) == "wcs_review"

    assert attempt(runner, HandSolve(ra=RA, dec=DEC + 1.5, scale=20.0), frame.id) == "no_plate_solution"
    assert state_of(runner, frame.id) == "wcs_review"
    assert "match" in (last_run(runner).why or "")

    assert attempt(runner, HandSolve(ra=RA, dec=DEC + 0.1, scale=20.0), frame.id) == "wcs_solved"
    (row,) = solutions(runner, frame)
    assert row.method == "person"
    assert _pixels_off(runner, frame, PIGGYBACK) < 0.3
    assert check(runner).ok


def test_a_person_need_not_know_the_scale(under_a_wide_sky: Runner, piggyback: Telescope) -> None:
    runner, frame = under_a_wide_sky, _wide(under_a_wide_sky, piggyback)
    for step in (Solve(), RetrySolve(), Review()):
        attempt(runner, step, frame.id)
    assert attempt(runner, HandSolve(ra=RA, dec=DEC, radius=1.0), frame.id) == "wcs_solved"
    assert solutions(runner, frame)[0].pixel_scale == pytest.approx(20.0, rel=1e-3)


def test_a_frame_without_stars_cannot_be_placed_by_anybody(with_stars: Runner, on_sky: Telescope) -> None:
    frame = calibrated(with_stars, on_sky, density=0.0, **pointing())
    ends = [attempt(with_stars, step, frame.id) for step in (Solve(), RetrySolve(), Review())]
    assert ends == ["too_few_stars", "too_few_stars", "wcs_review"]
    assert attempt(with_stars, HandSolve(ra=RA, dec=DEC), frame.id) == "too_few_stars"
    assert state_of(with_stars, frame.id) == "wcs_review"
    assert check(with_stars).ok
