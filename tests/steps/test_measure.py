"""A solved frame is measured: sources, magnitudes, zero point and quality agree with the simulated sky."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from numpy.typing import NDArray
from observing import (
    CAMERA as SMALL_CAMERA,
)
from observing import NIGHT, Telescope, attempt, caveats, knowing, make_masters, observatory_in, products
from PIL import Image
from sqlalchemy import select
from starfield import (
    EXPTIME,
    load_stars,
    measures,
    solutions,
    solved,
)

from small_steps import check, last_run, state_of
from toros.catalogues.loading import remove_catalogue
from toros.models import Pawprint, PhotometricZeroPoint, Source
from toros.models.base import HEALPIX_ORDER
from toros.quality.judge import Colour
from toros.science.healpix import cells_of
from toros.sim import Conditions, azulcito, build_detector, illuminate
from toros.steps.measure import Inputs, Measure, Result
from toros.steps.runner import Runner

SUN_G_R = 0.44
"""Colour for which zero points hold."""


@dataclass(frozen=True)
class Night:
    """A frame that was measured, and what is true of it."""

    runner: Runner
    frame: Pawprint
    truth: Table


CAMERA = azulcito((256, 256))
DENSITY = 25.0


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Path:
    """A folder with masters and the catalogue of the field."""
    folder = tmp_path_factory.mktemp("night")
    shutil.copyfile(sqlite_template, folder / "toros.db")
    runner = knowing(observatory_in(folder), CAMERA)
    telescope = Telescope(CAMERA, folder / "inbox")
    telescope.bias(9)
    telescope.darks(EXPTIME, 9)
    telescope.flats(9)
    assert make_masters(runner)["master_accepted"] == 3
    load_stars(runner, CAMERA, density=DENSITY)
    shutil.rmtree(folder / "inbox")
    return folder


@pytest.fixture(scope="module")
def measured(night: Path, tmp_path_factory: pytest.TempPathFactory) -> Night:
    """A starry frame through all steps, to be read only."""
    runner = _observatory(night, tmp_path_factory.mktemp("measured") / "night")
    telescope = _telescope(runner)
    frame = solved(runner, telescope, density=DENSITY)
    assert attempt(runner, Measure(), frame.id) == "measured"
    truth = telescope.truth[frame.name].truth
    assert truth is not None
    return Night(runner, frame, truth)


@pytest.fixture
def with_stars(night: Path, tmp_path: Path) -> Runner:
    """A copy of the night."""
    return _observatory(night, tmp_path / "copy")


@pytest.fixture
def on_sky(with_stars: Runner) -> Telescope:
    """The camera at the end of that night."""
    return _telescope(with_stars)


def _observatory(night: Path, folder: Path) -> Runner:
    shutil.copytree(night, folder)
    (folder / "inbox").mkdir()
    return knowing(observatory_in(folder), CAMERA)


def _telescope(runner: Runner) -> Telescope:
    return Telescope(CAMERA, runner.settings.inbox[0], night=NIGHT, seed=2)


def _flat_loss() -> float:
    """Return the magnitudes that all stars seem to gain or lose, as flat fields are 1 at their median."""
    light = np.ones(CAMERA.shape, np.float32)
    illuminate(light, build_detector(CAMERA), CAMERA.bands[0])
    return float(2.5 * np.log10(np.median(light)))


def _sources(runner: Runner, frame: Pawprint) -> list[Source]:
    with runner.database.read() as session:
        return list(session.scalars(select(Source).where(Source.pawprint_id == frame.id).order_by(Source.id)))


def _zero_points(runner: Runner, frame: Pawprint) -> list[PhotometricZeroPoint]:
    with runner.database.read() as session:
        rows = session.scalars(
            select(PhotometricZeroPoint).where(PhotometricZeroPoint.pawprint_id == frame.id)
        )
        return list(rows)


def _table(runner: Runner, frame: Pawprint) -> fits.BinTableHDU:
    (product,) = products(runner, frame, "sources")
    with fits.open(runner.store.path(product.path), memmap=False) as hdus:
        return hdus["SOURCES"].copy()


def _column(rows: list[Source], name: str) -> NDArray[np.float64]:
    return np.array([getattr(row, name) for row in rows], float)


def _bright_stars(night: Night) -> tuple[list[Source], Table]:
    """Return clean, isolated sources of high signal, and what is true of each."""
    truth = night.truth
    rows = [row for row in _sources(night.runner, night.frame) if row.snr > 50 and row.flags == 0]
    everything = SkyCoord(truth["ra"], truth["dec"], unit="deg")
    there = SkyCoord([row.ra for row in rows], [row.dec for row in rows], unit="deg")
    nearest, distance, _ = there.match_to_catalog_sky(everything)
    _, second, _ = there.match_to_catalog_sky(everything, nthneighbor=2)
    good = (second.arcsec > 5) & (distance.arcsec < 1) & (truth["kind"][nearest] == "star")
    return [row for row, one in zip(rows, good, strict=True) if one], truth[nearest[good]]


# --------------------------------------------------------------------------------------------- sources


def test_the_rows_are_those_of_the_table(measured: Night) -> None:
    rows, table = _sources(measured.runner, measured.frame), _table(measured.runner, measured.frame).data
    assert len(rows) == len(table) > 20
    for name, column in (
        ("x", "x"),
        ("y", "y"),
        ("ra", "ra"),
        ("dec", "dec"),
        ("flux", "flux_psf"),
        ("flux_err", "flux_psf_err"),
        ("aper_flux", "flux_aper_corrected"),
        ("snr", "snr"),
        ("fwhm", "fwhm"),
        ("mag", "mag"),
        ("mag_err", "mag_err"),
        ("flags", "flags"),
    ):
        np.testing.assert_allclose(_column(rows, name), table[column].astype(float), rtol=1e-6, err_msg=name)
    cells = cells_of(_column(rows, "ra"), _column(rows, "dec"), HEALPIX_ORDER)
    assert [row.healpix for row in rows] == cells.tolist()


def test_the_table_tells_its_units_and_what_it_belongs_to(measured: Night) -> None:
    table = _table(measured.runner, measured.frame)
    (product,) = products(measured.runner, measured.frame, "sources")
    units = [table.columns[name].unit for name in ("x", "ra", "flux_psf", "mag")]
    assert units == ["pix", "deg", "electron", "mag"]
    (zero_point,) = _zero_points(measured.runner, measured.frame)
    assert table.header["ZEROPNT"] == pytest.approx(zero_point.zero_point)
    assert table.header["FRAME"] == products(measured.runner, measured.frame, "calibrated")[-1].path
    assert (table.header["EXPTIME"], table.header["STEPRUN"]) == (EXPTIME, product.steprun_id)


def test_bright_stars_are_where_they_are(measured: Night) -> None:
    rows, truth = _bright_stars(measured)
    assert len(rows) >= 5
    east = (_column(rows, "ra") - truth["ra"]) * np.cos(np.radians(truth["dec"])) * 3600
    north = (_column(rows, "dec") - truth["dec"]) * 3600
    assert np.hypot(east, north).max() < 0.1


def test_magnitudes_are_true_within_their_errors(measured: Night) -> None:
    rows, truth = _bright_stars(measured)
    (zero_point,) = _zero_points(measured.runner, measured.frame)
    error = np.hypot(_column(rows, "mag_err"), np.hypot(zero_point.error, 0.01))
    assert np.all(np.abs(_column(rows, "mag") - truth["mag"]) < 4 * error)


# ------------------------------------------------------------------------------------------ zero point


def test_the_zero_point_is_true_to_5_mmag_and_its_error(measured: Night) -> None:
    (row,) = _zero_points(measured.runner, measured.frame)
    assert row.zero_point == pytest.approx(
        measured.truth.meta["zero_point"] + _flat_loss(), abs=0.005 + 2 * row.error
    )
    assert row.error < 0.01
    assert (row.band, row.catalogue, row.transparency) == ("r", "sky", None)
    assert row.n_stars >= 15
    # A filter called Clear has no band of its own.
    assert caveats(measured.runner, measured.frame, "sources") == {"band_approximate"}


def test_a_colour_term_is_found_and_the_zero_point_holds_for_the_sun(
    with_stars: Runner, on_sky: Telescope
) -> None:
    band = replace(CAMERA.bands[0], colour_term=0.3)
    camera = replace(CAMERA, bands=(band,))
    frame = solved(
        with_stars, replace(on_sky, camera=camera), density=DENSITY, conditions=Conditions(extinction=0.5)
    )
    assert attempt(with_stars, Measure(), frame.id) == "measured"
    (row,) = _zero_points(with_stars, frame)
    assert row.colour_term == pytest.approx(-0.3, abs=0.05)
    assert row.zero_point == pytest.approx(
        band.zero_point - 0.5 - 0.3 * SUN_G_R + _flat_loss(), abs=0.005 + 2 * row.error
    )


def test_the_limiting_magnitude_is_that_of_a_star_five_times_above_the_noise(measured: Night) -> None:
    (row,) = _zero_points(measured.runner, measured.frame)
    truth = measured.truth.meta
    # The best weighted sum of a normal profile (King 1983, PASP 95, 163); wings and neighbours cost some of it.
    pixels = 4 * np.pi * (truth["fwhm"] / 2.3548) ** 2
    noise = np.sqrt(pixels * (truth["sky"] + CAMERA.dark_current * EXPTIME + CAMERA.read_noise**2))
    expected = truth["zero_point"] - 2.5 * np.log10(5 * noise / EXPTIME)
    assert row.limiting_magnitude is not None
    assert expected - 0.6 < row.limiting_magnitude < expected
    faint = [one for one in _sources(measured.runner, measured.frame) if one.snr < 20 and one.flags == 0]
    at_limit = _column(faint, "mag") + 2.5 * np.log10(_column(faint, "snr") / 5)
    assert row.limiting_magnitude == pytest.approx(np.median(at_limit), abs=0.25)


def test_clouds_are_seen_against_an_earlier_night(with_stars: Runner, on_sky: Telescope) -> None:
    clear = solved(with_stars, on_sky, density=DENSITY)
    attempt(with_stars, Measure(), clear.id)
    cloudy = solved(with_stars, on_sky.next_night(), density=DENSITY, conditions=Conditions(extinction=0.4))
    assert attempt(with_stars, Measure(), cloudy.id) == "measured"
    (first,), (second,) = _zero_points(with_stars, clear), _zero_points(with_stars, cloudy)
    assert first.transparency is None
    assert second.transparency == pytest.approx(10**-0.16, rel=0.02)
    measured = measures(with_stars, cloudy, "measure")["transparency"]
    assert (measured.value, measured.colour) == (second.transparency, "yellow")


def test_a_catalogue_without_magnitudes_in_a_fitting_band_gives_no_zero_point(
    with_stars: Runner, on_sky: Telescope
) -> None:
    remove_catalogue(with_stars.settings.catalogues, "sky")
    load_stars(
        with_stars,
        CAMERA,
        density=DENSITY,
        columns={"name": "name", "ra": "ra", "dec": "dec", "rmag": "Bmag"},
    )
    frame = solved(with_stars, on_sky, density=DENSITY)
    assert attempt(with_stars, Measure(), frame.id) == "measured"
    assert _zero_points(with_stars, frame) == []
    assert caveats(with_stars, frame, "sources") == {"no_zero_point"}
    rows = _sources(with_stars, frame)
    assert len(rows) > 20
    assert {(row.mag, row.mag_err) for row in rows} == {(None, None)}
    assert not {"zero_point", "limiting_magnitude"} & set(measures(with_stars, frame, "measure"))
    assert check(with_stars).ok


# --------------------------------------------------------------------------------------------- quality


def test_the_quality_of_the_frame_is_on_record_with_its_colours(measured: Night) -> None:
    found = measures(measured.runner, measured.frame, "measure")
    (zero_point,) = _zero_points(measured.runner, measured.frame)
    assert set(found) >= {"star_count", "fwhm", "ellipticity", "trailing", "background_gradient"}
    assert found["fwhm"].value == pytest.approx(1.5, rel=0.15)
    assert (found["fwhm"].unit, found["fwhm"].colour) == ("arcsec", "green")
    assert found["trailing"].value < 0.15
    assert found["zero_point"].value == zero_point.zero_point
    assert found["limiting_magnitude"].value == zero_point.limiting_magnitude
    assert {row.colour for row in found.values()} <= {*Colour, None}


def test_the_picture_shows_the_frame(measured: Night) -> None:
    (picture,) = products(measured.runner, measured.frame, "picture")
    with Image.open(measured.runner.store.path(picture.path)) as image:
        assert image.format == "PNG"
        assert min(image.size) >= 96
        colours = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert np.ptp(colours, axis=1).max() > 50, "sources are marked in colour"


def test_a_red_frame_goes_no_further_and_says_why(with_stars: Runner, on_sky: Telescope) -> None:
    limits = with_stars.settings.data_root.parent / "limits.toml"
    limits.write_text(
        f'[cameras."Simulated {CAMERA.name} 256 x 256".fwhm]\nyellow = 0.5\norange = 0.7\nred = 1.0\n'
    )
    strict = replace(with_stars, settings=replace(with_stars.settings, quality_limits=limits))
    frame = solved(strict, on_sky, density=DENSITY)
    assert attempt(strict, Measure(), frame.id) == "failed_quality"
    assert "fwhm 1." in (last_run(strict).remark or "")
    assert "arcsec is above 1" in (last_run(strict).remark or "")
    assert measures(strict, frame, "measure")["fwhm"].colour == "red"
    assert len(_sources(strict, frame)) > 20, "what was measured stays on record"
    assert check(strict).ok


def test_a_blank_frame_has_no_sources(with_stars: Runner, on_sky: Telescope) -> None:
    frame = solved(with_stars, on_sky, density=DENSITY)
    path = with_stars.store.path(products(with_stars, frame, "calibrated")[-1].path)
    _put_out_the_stars(path)
    assert attempt(with_stars, Measure(), frame.id) == "no_sources"
    assert state_of(with_stars, frame.id) == "failed_to_measure"
    assert _sources(with_stars, frame) == []


def _put_out_the_stars(path: Path) -> None:
    """Leave nothing but an even sky in a solved frame: one that is taken so is never solved."""
    with fits.open(path, memmap=False) as hdus:
        sky = np.random.default_rng(1).normal(200.0, 15.0, hdus[0].data.shape)
        hdus[0].data = sky.astype(np.float32)
        path.unlink()
        hdus.writeto(path)


def test_measuring_twice_changes_nothing(with_stars: Runner, on_sky: Telescope) -> None:
    frame = solved(with_stars, on_sky, density=DENSITY)
    attempt(with_stars, Measure(), frame.id)
    rows = len(_sources(with_stars, frame))
    assert with_stars.run(Measure(), frame.id).again
    assert len(_sources(with_stars, frame)) == rows
    assert len(_zero_points(with_stars, frame)) == len(solutions(with_stars, frame)) == 1
    assert check(with_stars).ok


# ---------------------------------------------------------------------------------------------- in bulk


class MeasureCrowd(Measure):
    """Measures a frame as if its stars were 20 000, the last of them without a width."""

    def transform(self, inputs: Inputs) -> Result:
        result = super().transform(inputs)
        sources = result.sources[np.arange(20_000) % len(result.sources)]
        sources["fwhm"][-1] = np.nan * u.pix
        return replace(result, sources=sources)


def test_twenty_thousand_sources_of_a_frame_are_stored(observatory: Runner, telescope: Telescope) -> None:
    load_stars(observatory, SMALL_CAMERA)
    telescope.bias(5)
    telescope.flats(5)
    make_masters(observatory)
    frame = solved(observatory, telescope)
    assert attempt(observatory, MeasureCrowd(), frame.id) == "measured"
    rows = _sources(observatory, frame)
    assert len(rows) == 20_000
    assert {row.steprun_id for row in rows} == {last_run(observatory).id}
    assert rows[-1].fwhm is None, "what is not finite is NULL"
    assert len(_zero_points(observatory, frame)) == 1
