"""The simulated sky, and where a camera sees it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.wcs.utils import proj_plane_pixel_scales

from toros.errors import BadParameters
from toros.sim import Pulsation, Supernova, Transient, add_transients, azulcito, camera_wcs, sky_field


@pytest.fixture(scope="module")
def field():
    return sky_field(15.0, -30.0, 0.7, density=5.0, seed=3)


def test_the_same_place_has_always_the_same_stars(field):
    again = sky_field(15.0, -30.0, 0.7, density=5.0, seed=3)
    assert (again == field).all()


def test_another_place_or_seed_has_other_stars(field):
    for other in (sky_field(18.0, -30.0, 0.7, seed=3), sky_field(15.0, -30.0, 0.7, seed=4)):
        assert not np.isin(other["mag"], field["mag"]).any()


@pytest.mark.parametrize(("ra", "dec"), [(15.0, -30.0), (0.0, 10.0), (77.0, -89.9)])
def test_a_wide_and_a_narrow_field_see_the_same_stars(ra, dec):
    wide = sky_field(ra, dec, 0.6, seed=3)
    beside = (ra + 0.1, dec + 0.05)
    narrow = sky_field(*beside, 0.2, seed=3)
    distance = SkyCoord(*beside, unit="deg").separation(SkyCoord(wide["ra"], wide["dec"], unit="deg"))
    assert len(narrow) > 1000
    assert set(narrow["name"]) == set(wide["name"][distance.deg <= 0.2])
    assert len(set(wide["name"])) == len(wide)


@pytest.mark.parametrize(("ra", "dec"), [(0.0, 0.0), (359.99, -89.5), (120.0, 90.0)])
def test_sources_fill_the_circle_evenly(ra, dec):
    sources = sky_field(ra, dec, 0.5, density=5.0)
    assert ((sources["ra"] >= 0) & (sources["ra"] < 360)).all()
    distance = SkyCoord(ra, dec, unit="deg").separation(SkyCoord(sources["ra"], sources["dec"], unit="deg"))
    assert distance.max() <= 0.5 * u.deg
    inner = (distance < 0.25 * u.deg).sum()
    assert inner == pytest.approx(len(sources) / 4, abs=5 * math.sqrt(len(sources) * 3 / 16))
    expected = 5.0 * math.pi * 30**2
    assert len(sources) == pytest.approx(expected, abs=5 * math.sqrt(expected))


def test_star_counts_double_with_every_magnitude(field):
    mag = field["mag"][field["kind"] == "star"]
    assert mag.min() >= 10
    assert mag.max() <= 21
    # Maximum-likelihood slope of N(< m) = 10 ** (slope * m).
    slope = 1 / (math.log(10) * np.mean(21 - mag))
    assert slope == pytest.approx(0.3, abs=5 * 0.3 / math.sqrt(len(mag)))


def test_galaxies_are_extended_and_stars_are_not(field):
    galaxy = field["kind"] == "galaxy"
    assert 0.06 < galaxy.mean() < 0.1
    assert (field["half_light_radius"][galaxy] > 0).all()
    assert (field["half_light_radius"][~galaxy] == 0).all()


def test_a_sky_without_extent_is_refused():
    with pytest.raises(BadParameters, match="no sky"):
        sky_field(15.0, -30.0, 0.0)


def test_a_supernova_rises_from_nothing_and_fades():
    light = Supernova(peak_magnitude=17.0, peak_jd=2461370.0, rise_days=15.0, decline_per_day=0.1)
    assert light(2461354.0) == math.inf
    assert light(2461362.0) > light(2461366.0) > light(2461370.0) == 17.0
    assert light(2461380.0) == pytest.approx(18.0)


def test_a_pulsation_returns_after_its_period():
    light = Pulsation(mean_magnitude=16.0, amplitude=0.5, period_days=0.6)
    assert light(2461370.0) == pytest.approx(light(2461370.6), abs=1e-4)
    assert light(2451545.0) == pytest.approx(15.5)


def test_a_transient_is_on_the_sky_only_while_it_shines(field):
    supernova = Transient("SN", 15.0, -30.0, Supernova(17.0, peak_jd=2461370.0))
    assert len(add_transients(field, [supernova], 2461300.0)) == len(field)
    now = add_transients(field, [supernova], 2461370.0)
    assert len(now) == len(field) + 1
    assert (now["name"][-1], now["kind"][-1], now["mag"][-1]) == ("SN", "transient", 17.0)
    assert len(field) == len(now) - 1


def test_an_asteroid_moves_at_its_rate():
    asteroid = Transient("2026 XX", 15.0, -60.0, lambda jd: 18.0, motion=(-30.0, 12.0), epoch=2461365.0)
    start, later = (SkyCoord(*asteroid.position(2461365.0 + hours / 24), unit="deg") for hours in (0, 2))
    east, north = start.spherical_offsets_to(later)
    assert east.arcsec == pytest.approx(-60.0, abs=0.05)
    assert north.arcsec == pytest.approx(24.0, abs=0.05)


@pytest.mark.parametrize("mirrored", [True, False])
def test_the_camera_sees_the_sky_at_its_scale_and_angle(camera, mirrored):
    camera = dataclasses.replace(camera, rotation=25.0, mirrored=mirrored)
    wcs = camera_wcs(camera, 40.0, -30.0)
    assert proj_plane_pixel_scales(wcs) * 3600 == pytest.approx([camera.pixel_scale] * 2)
    centre = (camera.shape[1] - 1) / 2, (camera.shape[0] - 1) / 2
    middle, up, right = (
        SkyCoord(*wcs.all_pix2world(centre[0] + dx, centre[1] + dy, 0), unit="deg")
        for dx, dy in ((0, 0), (0, 20), (20, 0))
    )
    assert (middle.ra.deg, middle.dec.deg) == pytest.approx((40.0, -30.0))
    assert middle.position_angle(up).deg == pytest.approx(25.0, abs=0.05)
    turn = (middle.position_angle(right) - middle.position_angle(up)).wrap_at(180 * u.deg).deg
    assert turn == pytest.approx(90 if mirrored else -90, abs=0.05)


def test_distortion_moves_stars_outwards_with_the_cube_of_the_radius():
    camera = azulcito()
    wcs = camera_wcs(camera, 40.0, -30.0)
    for radius in (500.0, 1000.0, 2000.0):
        x, y = 2047.5 + radius * 0.6, 2047.5 - radius * 0.8
        ideal = wcs.wcs_world2pix(*wcs.all_pix2world(x, y, 0), 0)
        moved = math.hypot(x - 2047.5, y - 2047.5) - math.hypot(ideal[0] - 2047.5, ideal[1] - 2047.5)
        assert moved == pytest.approx(camera.distortion * radius**3, rel=1e-3)
