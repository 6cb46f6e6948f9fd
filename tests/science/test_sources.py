from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from scipy.spatial import cKDTree
from starry_frames import Starry, random_stars, simulated_field, starry

from toros.errors import NoSky, NotFinite, WrongGeometry
from toros.science.flags import PixelFlag
from toros.science.sources import APERTURES, Measurement, SourceFlag, measure_sources
from toros.sim import Conditions, Psf


def measure(field: Starry, **options: float) -> Measurement:
    return measure_sources(field.data, field.mask, field.variance, **options)


def nearest(measurement: Measurement, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each position the distance to the nearest source, and its row."""
    table = measurement.sources
    tree = cKDTree(np.column_stack([table["x"].value, table["y"].value]))
    return tree.query(np.column_stack([x, y]))


def flagged(measurement: Measurement, flag: SourceFlag) -> np.ndarray:
    return (np.asarray(measurement.sources["flags"]) & int(flag)) != 0


@pytest.fixture(scope="module")
def sky() -> tuple[Starry, Psf, Measurement]:
    field, psf = simulated_field((1536, 1536), density=6.0)
    return field, psf, measure(field)


def test_faint_stars_are_found_and_little_else(sky: tuple[Starry, Psf, Measurement]) -> None:
    field, psf, found = sky
    snr = field.snr(psf)
    inside = field.is_star & (np.minimum(field.x, field.y) > 3) & (np.maximum(field.x, field.y) < 1532)
    near = nearest(found, field.x, field.y)[0] < 2
    for low, high, least in ((5, 6, 0.7), (6, 8, 0.9), (8, 12, 0.95), (12, 1e9, 0.985)):
        chosen = inside & (snr >= low) & (snr < high)
        assert chosen.sum() > 60
        assert near[chosen].mean() >= least
    table, strong = found.sources, snr > 2
    true = cKDTree(np.column_stack([field.x, field.y])[strong])
    assert np.mean(true.query(np.column_stack([table["x"].value, table["y"].value]))[0] > 2) < 0.03


@pytest.mark.parametrize("column", ["flux_psf", "flux_aper_corrected"])
def test_isolated_stars_scatter_about_the_truth_by_their_errors(
    sky: tuple[Starry, Psf, Measurement], column: str
) -> None:
    field, psf, found = sky
    snr, places = field.snr(psf), np.column_stack([field.x, field.y])
    groups = cKDTree(places).query_ball_point(places, 5 * psf.fwhm)
    alone = np.array([field.flux[group].sum() for group in groups]) < 1.01 * field.flux
    distance, row = nearest(found, field.x, field.y)
    good = field.is_star & alone & (distance < 1) & (snr > 15)
    good &= (np.asarray(found.sources["flags"])[row] & ~int(SourceFlag.BLENDED)) == 0
    flux, error = found.sources[column].value[row], found.sources[f"{column}_err"].value[row]
    bright = good & (snr > 100)
    zero_point = np.median(flux[bright] / field.flux[bright])
    assert zero_point == pytest.approx(1, abs=0.01), "the whole light is measured"
    deviation = flux / zero_point - field.flux
    assert bright.sum() > 20
    assert np.median(np.abs(deviation / field.flux)[bright]) * 1.4826 < 0.01
    assert good.sum() > 100
    assert np.mean(np.square(deviation / error)[good]) == pytest.approx(1, abs=0.3)


def test_positions_scatter_by_their_errors(sky: tuple[Starry, Psf, Measurement]) -> None:
    field, psf, found = sky
    distance, row = nearest(found, field.x, field.y)
    good = field.is_star & (distance < 1) & (field.snr(psf) > 10)
    good &= np.asarray(found.sources["flags"])[row] == 0
    for axis, truth in (("x", field.x), ("y", field.y)):
        pull = (found.sources[axis].value[row] - truth) / found.sources[f"{axis}_err"].value[row]
        assert 1.4826 * np.median(np.abs(pull[good])) == pytest.approx(1, abs=0.15)


def test_the_frame_is_told_as_a_whole(sky: tuple[Starry, Psf, Measurement]) -> None:
    field, psf, found = sky
    shape = found.star_shape
    assert shape.fwhm == pytest.approx(psf.fwhm / np.sqrt(1 - psf.ellipticity), rel=0.02)
    assert shape.ellipticity == pytest.approx(psf.ellipticity, abs=0.01)
    assert found.background.rms == pytest.approx(field.noise, rel=0.03)
    assert found.noise_ratio == pytest.approx(1, abs=0.06)
    row, column = np.mgrid[-20:21, -20:21].astype(np.float32)
    limit = 5 * field.noise / np.sqrt(np.square(psf(column, row)).sum())
    assert found.limiting_flux == pytest.approx(limit, rel=0.04)
    assert found.saturated_fraction == pytest.approx(np.mean(field.mask != 0))
    assert 0.9 * len(found.sources) < found.n_stars <= len(found.sources)


def test_the_table_is_ordered_and_has_units(sky: tuple[Starry, Psf, Measurement]) -> None:
    _, _, found = sky
    table = found.sources
    assert np.all(np.diff(table["flux_psf"].value) <= 0)
    assert table["x"].unit == u.pix
    assert table["flux_psf"].unit == u.electron
    assert table["angle"].unit == u.deg
    assert table["flux_aper"].shape == (len(table), len(APERTURES))
    np.testing.assert_allclose(table["snr"], (table["flux_psf"] / table["flux_psf_err"]).value)


def test_saturated_stars_are_one_flagged_source_each() -> None:
    x, y = (values.ravel() + 0.3 for values in np.meshgrid(*[60.0 + 100 * np.arange(5)] * 2))
    field = starry(x, y, np.geomspace(2e3, 5e6, 25), shape=(520, 520))
    truly = np.flatnonzero(field.data[np.rint(y).astype(int), np.rint(x).astype(int)] >= 2e4)
    np.minimum(field.data, 2e4, out=field.data)
    field.mask[field.data >= 2e4] = PixelFlag.SATURATED
    found = measure(field)
    assert len(found.sources) == 25
    saturated, (distance, row) = flagged(found, SourceFlag.SATURATED), nearest(found, x, y)
    assert sorted(np.flatnonzero(saturated)) == sorted(row[truly])
    assert np.all(distance[truly] < 0.1)
    np.testing.assert_allclose(found.sources["flux_psf"].value[row[truly]], field.flux[truly], rtol=0.1)


def test_a_saturated_star_that_overflows_is_one_source() -> None:
    field = starry([100.3, 40.0], [110.6, 40.0], [2e6, 2e4])
    field.data[60:160, 99:102] = 3e4
    np.minimum(field.data, 3e4, out=field.data)
    found = measure(field, saturation=3e4)
    assert len(found.sources) == 2
    assert flagged(found, SourceFlag.SATURATED).tolist() == [True, False]


@pytest.mark.parametrize("widths", [0.9, 1.3, 2.0])
def test_a_close_pair_is_two_sources_with_the_light_of_each(widths: float) -> None:
    x, y = (values.ravel() for values in np.meshgrid(*[60.0 + 60 * np.arange(9)] * 2))
    pairs = np.arange(81) % 5 == 0
    flux = np.full(81, 5e4)
    second = x[pairs] + widths * 3 * 0.8, y[pairs] + widths * 3 * 0.6, flux[pairs] * 0.6
    field = starry(
        *(np.append(one, other) for one, other in zip((x, y, flux), second, strict=True)), shape=(600, 600)
    )
    found = measure(field)
    assert len(found.sources) == field.x.size
    distance, row = nearest(found, field.x, field.y)
    assert distance.max() < 0.5
    ratio = found.sources["flux_psf"].value[row] / field.flux
    np.testing.assert_allclose(ratio / np.median(ratio[:81][~pairs]), 1, atol=0.05)
    blended = flagged(found, SourceFlag.BLENDED)[row]
    assert blended[:81].tolist() == pairs.tolist()
    assert blended[81:].all()


def test_trailed_stars_are_one_source_each_and_the_trail_is_told() -> None:
    shape = (600, 600)
    x, y = (values.ravel() + 0.4 for values in np.meshgrid(*[50.0 + 70 * np.arange(8)] * 2))
    field = starry(x, y, np.geomspace(3e3, 1e5, 64), shape=shape, psf=Psf(2.5, ellipticity=0.75, angle=35))
    found = measure(field)
    assert len(found.sources) == 64
    assert nearest(found, x, y)[0].max() < 1
    assert found.star_shape.ellipticity == pytest.approx(0.75, abs=0.05)
    assert found.star_shape.angle == pytest.approx(35, abs=2)
    bright = found.sources["snr"] > 50
    assert np.median(found.sources["ellipticity"][bright]) == pytest.approx(0.75, abs=0.15)
    assert np.median(found.sources["angle"].value[bright]) == pytest.approx(35, abs=4)


def test_a_galaxy_is_broader_than_the_stars_and_stays_one_source() -> None:
    x, y = (values.ravel() for values in np.meshgrid(*[50.0 + 70 * np.arange(8)] * 2))
    profiles = [Psf(3.0)] * 64
    for galaxy in (10, 20, 30):
        profiles[galaxy] = Psf(6.0)
    field = starry(x, y, np.full(64, 4e4), shape=(600, 600), psf=profiles, seed=5)
    found = measure(field)
    assert len(found.sources) == 64
    _, row = nearest(found, x, y)
    assert sorted(np.flatnonzero(flagged(found, SourceFlag.EXTENDED))) == sorted(row[[10, 20, 30]])
    assert np.median(found.sources["fwhm"].value) == pytest.approx(3, rel=0.03)
    np.testing.assert_allclose(found.sources["fwhm"].value[row[[10, 20, 30]]], 6, rtol=0.25)


def test_bad_pixels_cosmic_rays_and_the_edge_are_told() -> None:
    x, y = (values.ravel() for values in np.meshgrid(*[40.0 + 60 * np.arange(5)] * 2))
    x[0] = 1.0
    field = starry(x, y, np.full(25, 3e4), shape=(320, 320))
    field.data[int(y[6]), int(x[6]) + 1] = 1e5
    field.mask[int(y[6]), int(x[6]) + 1] = PixelFlag.HOT
    field.data[int(y[7]) - 1, int(x[7])] += 3e4
    field.mask[int(y[7]) - 1, int(x[7])] = PixelFlag.COSMIC_RAY
    found = measure(field)
    assert len(found.sources) == 25
    _, row = nearest(found, x, y)
    told = {
        flag: np.flatnonzero(flagged(found, flag)[row]).tolist()
        for flag in (SourceFlag.EDGE, SourceFlag.BAD_PIXELS, SourceFlag.COSMIC_RAY, SourceFlag.BLENDED)
    }
    assert list(told.values()) == [[0], [6], [7], []]
    ratio = found.sources["flux_psf"].value[row[6:8]] / np.median(found.sources["flux_psf"].value)
    np.testing.assert_allclose(ratio, 1, atol=0.04)
    aper = found.sources["flux_aper_corrected"].value
    np.testing.assert_allclose(aper[row[6:8]] / np.median(aper), 1, atol=0.04)


@pytest.mark.parametrize("seeing", [0.75, 4.0])
def test_any_seeing_will_do(seeing: float) -> None:
    field, psf = simulated_field((700, 640), conditions=Conditions(seeing=seeing, cosmic_ray_rate=0.0))
    found = measure(field)
    assert found.star_shape.fwhm == pytest.approx(psf.fwhm, rel=0.06)
    clear = field.is_star & (field.snr(psf) > 20)
    inside = (np.minimum(field.x, field.y) > 8) & (field.x < 630) & (field.y < 690)
    distance, row = nearest(found, field.x[clear & inside], field.y[clear & inside])
    assert np.mean(distance < 0.5 * psf.fwhm) > 0.93
    ratio = found.sources["flux_psf"].value[row] / field.flux[clear & inside]
    assert np.median(ratio) == pytest.approx(1, abs=0.08), "nine faint stars do not tell the wings well"


def test_in_a_crowd_most_stars_are_found_and_measured() -> None:
    shape = (300, 300)
    field = starry(*random_stars(400, shape, 1.5e3, 2e5), shape=shape)
    found = measure(field)
    distance, row = nearest(found, field.x, field.y)
    assert np.mean(distance < 1) > 0.85
    near = distance < 0.5
    ratio = found.sources["flux_psf"].value[row[near]] / field.flux[near]
    assert np.median(np.abs(ratio - 1)) < 0.05


def test_wrong_gain_shows_in_the_noise_ratio_and_not_in_the_errors() -> None:
    shape = (300, 300)
    field = starry(*random_stars(30, shape, 1e3, 1e5), shape=shape)
    right = measure(field)
    wrong = measure_sources(field.data, field.mask, field.variance * np.float32(4))
    assert right.noise_ratio == pytest.approx(1, abs=0.08)
    assert wrong.noise_ratio == pytest.approx(right.noise_ratio / 4, rel=0.01)
    np.testing.assert_allclose(
        wrong.sources["flux_psf_err"].value, right.sources["flux_psf_err"].value, rtol=0.02
    )


def test_a_frame_without_sources_gives_an_empty_table() -> None:
    found = measure(starry([], [], []))
    assert len(found.sources) == found.n_stars == 0
    assert found.sources["flux_aper"].shape == (0, len(APERTURES))
    assert found.psf.n_stars == 0
    assert found.limiting_flux > 0


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_handful_of_stars_is_enough(count: int) -> None:
    places = np.array([30.0, 80.0, 130.0, 60.0, 150.0])[:count]
    field = starry(places, places[::-1], np.full(count, 2e4), shape=(180, 190))
    found = measure(field)
    assert len(found.sources) == count
    np.testing.assert_allclose(found.sources["flux_psf"].value, 2e4, rtol=0.06)


@pytest.mark.parametrize("shape", [(24, 30), (40, 700)])
def test_tiny_and_narrow_frames_can_be_measured(shape: tuple[int, int]) -> None:
    field = starry([12.3], [11.8], [3e4], shape=shape)
    found = measure(field)
    assert len(found.sources) == 1
    assert np.hypot(found.sources["x"].value - 12.3, found.sources["y"].value - 11.8)[0] < 0.1


def test_the_frame_is_left_as_it_was() -> None:
    field = starry([100.0], [110.0], [2e4])
    before = field.data.copy(), field.mask.copy(), field.variance.copy()
    measure(field, saturation=1e4)
    for now, then in zip((field.data, field.mask, field.variance), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_what_cannot_be_measured_is_refused() -> None:
    field = starry([50.0], [50.0], [2e4], shape=(100, 100))
    with pytest.raises(NoSky):
        measure_sources(field.data, np.full((100, 100), PixelFlag.NO_DATA, np.uint8), field.variance)
    with pytest.raises(WrongGeometry):
        measure_sources(field.data, field.mask, field.variance[1:])
    field.data[3, 4] = np.nan
    with pytest.raises(NotFinite):
        measure(field)
