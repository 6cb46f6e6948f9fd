"""Sources on frames of real cameras, beside what sep and photutils find there."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import sep
from photutils.aperture import CircularAperture, aperture_photometry
from photutils.psf import fit_fwhm
from scipy.spatial import cKDTree

from toros.science.combine import combine
from toros.science.detect import find_stars
from toros.science.flags import PixelFlag
from toros.science.sources import Measurement, SourceFlag, measure_sources
from toros.store.fits_file import inspect


@dataclass(frozen=True)
class Real:
    """A frame in roughly electrons, and its mask."""

    data: np.ndarray
    mask: np.ndarray

    def measure(self) -> Measurement:
        return measure_sources(self.data, self.mask, np.maximum(self.data, 0) + np.float32(100))

    def extracted(self, sigma: float = 1.5) -> np.ndarray:
        """What sep finds in it, as its manual does."""
        masked = self.mask != 0
        background = sep.Background(self.data, mask=masked)
        residual = self.data - background.back()
        sep.set_extract_pixstack(1_000_000)
        return sep.extract(residual, sigma, err=background.globalrms, mask=masked, minarea=5)


def rows(path: Path) -> np.ndarray:
    image = inspect(path)
    return np.asarray(image.rows()[slice(0, image.shape[0])], np.float32)


def saturated(data: np.ndarray, level: float) -> np.ndarray:
    return (data >= level) * np.uint8(PixelFlag.SATURATED)


@pytest.fixture(scope="module")
def tres1(real_frames: Path) -> list[Real]:
    images = [inspect(path) for path in sorted((real_frames / "tres1").iterdir())]
    kinds = ["dark" in str(image.header.get("IMAGETYP")).lower() for image in images]
    dark = combine([image.rows() for image, is_dark in zip(images, kinds, strict=True) if is_dark]).data
    lights = [image.path for image, is_dark in zip(images, kinds, strict=True) if not is_dark]
    return [
        Real((rows(path) - dark) * np.float32(1.5), saturated(rows(path), 60000))
        for path in (lights[2], lights[3], lights[40])
    ]


@pytest.fixture(scope="module")
def sa112(real_frames: Path) -> Real:
    folder = real_frames / "sa112"
    bias = combine([inspect(path).rows() for path in sorted(folder.glob("*bias*"))]).data
    raw = rows(folder / "SA112-SF1-005R1.fit.gz")
    return Real(raw - bias, saturated(raw, 255))


@pytest.fixture(scope="module")
def crowd(real_frames: Path) -> Real:
    data = rows(real_frames / "isis" / "infile0.fits")
    return Real(data, np.zeros(data.shape, np.uint8))


@pytest.fixture(scope="module")
def colour(real_frames: Path) -> list[Real]:
    """Two frames of a colour sensor, some seconds apart."""
    frames = [rows(path) for path in sorted((real_frames / "seestar_ngc7023").glob("*_10.0s_*"))[:2]]
    return [Real(data, saturated(data, 65000)) for data in frames]


def near(measurement: Measurement, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    table = measurement.sources
    tree = cKDTree(np.column_stack([table["x"].value, table["y"].value]))
    return tree.query(np.column_stack([x, y]))


def test_every_clear_star_that_sep_finds_is_found(tres1: list[Real]) -> None:
    frame = tres1[0]
    measurement, theirs = frame.measure(), frame.extracted(3.0)
    assert len(theirs) > 300
    assert np.mean(near(measurement, theirs["x"], theirs["y"])[0] < 2) > 0.97
    assert len(measurement.sources) < 3 * len(frame.extracted())


def test_the_width_of_the_stars_is_the_one_photutils_fits(tres1: list[Real], sa112: Real) -> None:
    for frame in (tres1[0], sa112):
        measurement = frame.measure()
        table = measurement.sources
        alone = table[(table["flags"] == 0) & (table["snr"] > 7)][:30]
        residual = measurement.background.subtracted(frame.data)
        places = np.column_stack([alone["x"].value, alone["y"].value])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = fit_fwhm(residual, xypos=places, fit_shape=13)
        assert len(alone) >= 10
        assert measurement.star_shape.fwhm == pytest.approx(np.median(theirs), rel=0.15)


def test_apertures_agree_with_photutils_on_lonely_stars(tres1: list[Real]) -> None:
    frame = tres1[0]
    measurement = frame.measure()
    table = measurement.sources
    alone = table[(table["flags"] == 0) & (table["snr"] > 50)]
    radius = 1.5 * measurement.psf.fwhm
    residual = measurement.background.subtracted(frame.data)
    circles = CircularAperture(np.column_stack([alone["x"].value, alone["y"].value]), radius)
    theirs = aperture_photometry(residual, circles)["aperture_sum"]
    ratio = alone["flux_aper"][:, 2].value / theirs
    assert len(alone) > 50
    assert np.median(ratio) == pytest.approx(1, abs=0.003)
    assert np.median(np.abs(ratio - 1)) < 0.01


def test_two_frames_a_minute_apart_agree_on_the_brightness_of_the_stars(tres1: list[Real]) -> None:
    one, other = (frame.measure().sources for frame in tres1[:2])
    first, second = (table[(np.asarray(table["flags"]) == 0) & (table["snr"] > 60)] for table in (one, other))
    places = [np.column_stack([table["x"].value, table["y"].value]) for table in (first, second)]
    distance, row = cKDTree(places[1]).query(places[0])
    same = distance < 15
    shift = np.median(places[1][row[same]] - places[0][same], axis=0)
    distance, row = cKDTree(places[1]).query(places[0] + shift)
    same = distance < 1
    assert same.sum() > 50
    for column in ("flux_psf", "flux_aper_corrected"):
        ratio = second[column].value[row[same]] / first[column].value[same]
        assert 1.4826 * np.median(np.abs(ratio / np.median(ratio) - 1)) < 0.02


def test_stars_coarser_than_their_noise_are_found_without_an_explosion(sa112: Real) -> None:
    measurement = sa112.measure()
    assert 30 < len(measurement.sources) < 200
    theirs = sa112.extracted(20.0)
    clear = theirs[(theirs["npix"] > 25) & (theirs["y"] > 3)]
    assert np.mean(near(measurement, clear["x"], clear["y"])[0] < 2) > 0.95


def test_a_crowded_field_is_taken_apart(crowd: Real) -> None:
    measurement = crowd.measure()
    theirs = crowd.extracted()
    assert len(theirs) < len(measurement.sources) < 3 * len(theirs)
    assert np.mean(near(measurement, theirs["x"], theirs["y"])[0] < 2.5) > 0.85
    assert measurement.star_shape.fwhm == pytest.approx(4.0, rel=0.15)


def test_a_raw_frame_of_a_colour_sensor_gives_stars_and_no_chess_board(colour: list[Real]) -> None:
    one, other = (find_stars(frame.data, frame.mask) for frame in colour)
    assert 100 < len(one) < 1000
    assert one.saturated.sum() < 10
    tree = cKDTree(np.column_stack([other.x, other.y]))
    again = tree.query(np.column_stack([one.x, one.y]))[0] < 4  # it drifts by a pixel
    assert again[one.snr > 12].mean() > 0.98
    assert again.mean() > 0.75


def test_the_sources_of_a_colour_sensor_are_measured(colour: list[Real]) -> None:
    measurement = colour[0].measure()
    assert len(measurement.sources) == pytest.approx(len(find_stars(colour[0].data, colour[0].mask)), rel=0.1)
    assert 1.0 < measurement.star_shape.fwhm < 4
    flags = np.asarray(measurement.sources["flags"])
    assert 1 <= np.count_nonzero(flags & int(SourceFlag.SATURATED)) <= 10
