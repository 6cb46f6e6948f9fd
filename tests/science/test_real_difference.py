"""Differences of frames of real cameras: nothing where the sky is constant, and all that was put in."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from scipy.spatial import cKDTree

from toros.science.cosmic_rays import find_cosmic_rays
from toros.science.detect import detect
from toros.science.difference import Difference, subtract
from toros.science.flags import PixelFlag
from toros.science.image import Image
from toros.science.noise import MAD_TO_SIGMA, sky_noise
from toros.science.psf import draw
from toros.science.registration import StarList, register
from toros.science.resample import Polynomial, pixel_map, resample
from toros.science.sources import Measurement, measure_sources
from toros.science.zogy import subtract_zogy


@dataclass(frozen=True)
class Pair:
    """Two frames of one field on one grid, and their sources."""

    science: Image
    reference: Image
    sources: Measurement
    of_reference: Measurement

    @property
    def transform(self) -> Polynomial:
        """How the reference lies on the science frame."""
        frames = zip((self.of_reference, self.sources), (self.reference, self.science), strict=True)
        lists = [
            StarList(found.sources["x"].value, found.sources["y"].value, found.sources["snr"], frame.shape)
            for found, frame in frames
        ]
        return register(*lists).transform

    def subtracted(self, science: Image | None = None) -> Difference:
        table, psfs = self.sources.sources, (self.sources.psf, self.of_reference.psf)
        return subtract(science or self.science, self.reference, table, *psfs)

    def proper(self, science: Image | None = None) -> Difference:
        table, psfs = self.sources.sources, (self.sources.psf, self.of_reference.psf)
        return subtract_zogy(science or self.science, self.reference, table, *psfs)


def pair(science: Image, reference: Image) -> Pair:
    return Pair(
        science,
        reference,
        *(measure_sources(image.data, image.mask, image.variance) for image in (science, reference)),
    )


def opened(path: Path) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the frames of isis end a little early
        return np.ascontiguousarray(fits.getdata(path), np.float32)


def image(data: np.ndarray, *, gain: float, noise: float, saturation: float) -> Image:
    """A frame whose variance is that of its photons and of `noise`."""
    mask = (data >= saturation) * np.uint8(PixelFlag.SATURATED)
    return Image(data, np.maximum(data, 0) / np.float32(gain) + np.float32(noise**2), mask)


@pytest.fixture(scope="module")
def minute(real_frames: Path) -> Pair:
    """ESO 085-030 twice, 74 s apart, cleaned and aligned: nothing has changed."""
    frames = []
    for number in (5, 4):
        data = opened(real_frames / "toros" / f"aligned_eso085-030-00{number}.fit")
        frame = image(data, gain=1.5, noise=10.0, saturation=60_000)
        frame.mask[data < 3000] |= np.uint8(PixelFlag.NO_DATA)
        # The camera's hot pixels are as sharp as cosmic rays.
        frame.mask[find_cosmic_rays(data, frame.variance, frame.mask)] |= np.uint8(PixelFlag.COSMIC_RAY)
        frames.append(frame)
    raw = pair(*frames)
    return pair(raw.science, resample(raw.reference, pixel_map(raw.transform, raw.science.shape)))


@pytest.fixture(scope="module")
def crowd(real_frames: Path) -> list[Pair]:
    """A crowded field in three kinds of worse seeing."""
    frames = [
        image(opened(real_frames / "isis" / f"infile{number}.fits"), gain=1.0, noise=5.0, saturation=28_000)
        for number in (0, 5, 12, 20)
    ]
    return [pair(frame, frames[0]) for frame in frames[1:]]


@pytest.fixture(scope="module")
def stacks(real_frames: Path) -> tuple[Pair, np.ndarray]:
    """Two stacks of DECam, and the difference that others made of them."""
    frames = []
    for name, gain in (("04", 20.0), ("18", 20.0)):
        data = opened(real_frames / "decam" / f"Stack-DEC-OBS{name}.fits")
        frames.append(image(data, gain=gain, noise=sky_noise(data), saturation=40_000))
    return pair(*frames), opened(real_frames / "decam" / "FinalDifference.fits")


def found(difference: Difference, sign: int = 1) -> np.ndarray:
    plane = sign * difference.normalised()
    peaks = detect(plane, difference.image.mask, 1.0, fwhm=difference.psf.fwhm)
    return np.column_stack([peaks.x, peaks.y])


def recovered(frames: Pair, snr: float, margin: int, seed: int = 1) -> float:
    """Part of the transients of that S/N in the difference that are found in it, on places chosen by chance."""
    first = frames.subtracted()
    rng = np.random.default_rng(seed)
    ny, nx = first.image.shape
    x, y = rng.uniform(margin, nx - margin, 300), rng.uniform(margin, ny - margin, 300)
    here = tuple(np.rint([y, x]).astype(int))
    clean = first.image.mask[here] == 0
    apart = cKDTree(np.column_stack([x, y]))
    clean[list({b for _, b in apart.query_pairs(6 * first.psf.fwhm)})] = False
    x, y = x[clean], y[clean]
    here = tuple(np.rint([y, x]).astype(int))
    flux = snr * first.noise_factor * np.sqrt(first.image.variance[here] * first.psf.noise_area).astype(float)
    data = frames.science.data.copy()
    draw(data, frames.sources.psf, x, y, flux, 0.1)
    distance, _ = cKDTree(found(frames.subtracted(replace(frames.science, data=data)))).query(
        np.column_stack([x, y])
    )
    assert x.size >= 10
    return float(np.mean(distance < first.psf.fwhm))


def test_a_minute_later_nothing_has_changed(minute: Pair) -> None:
    difference = minute.subtracted()
    quality = difference.quality
    assert quality.scale == pytest.approx(1, abs=0.02)
    assert quality.chi_sky == pytest.approx(1, abs=0.05)
    assert quality.chi_faint == pytest.approx(1, abs=0.1)
    assert quality.chi_bright < 1.2
    assert len(minute.sources.sources) > 500
    assert len(found(difference)) <= 2
    assert len(found(difference, -1)) <= 3


def test_a_transient_of_a_minute_is_found(minute: Pair) -> None:
    assert recovered(minute, 10.0, 40) >= 0.95


def test_worse_seeing_over_a_crowd_leaves_nothing_but_a_few_variables(crowd: list[Pair]) -> None:
    for frames in crowd:
        difference = frames.subtracted()
        quality = difference.quality
        assert difference.convolved == "reference"
        assert quality.scale == pytest.approx(1, abs=0.01)
        assert quality.chi_sky == pytest.approx(1, abs=0.1)
        assert quality.chi_faint == pytest.approx(1, abs=0.1)
        assert quality.chi_bright < 1.2
        assert len(frames.sources.sources) > 200
        assert len(found(difference)) <= 5
        assert len(found(difference, -1)) <= 5


def test_the_proper_difference_of_a_crowd_is_as_empty(crowd: list[Pair]) -> None:
    for frames in crowd:
        difference = frames.proper()
        quality = difference.quality
        assert difference.score is not None
        assert quality.scale == pytest.approx(1, abs=0.01)
        assert quality.chi_sky == pytest.approx(1, abs=0.1)
        assert quality.chi_faint == pytest.approx(1, abs=0.1)
        assert difference.noise_factor < 1.15
        score = difference.score[difference.image.mask == 0]
        assert MAD_TO_SIGMA * np.median(np.abs(score)) == pytest.approx(1, abs=0.15)


def test_a_transient_in_a_crowd_stands_out_in_the_proper_difference(crowd: list[Pair]) -> None:
    first = crowd[0].proper()
    clean = first.image.mask == 0
    x, y = (part.ravel() for part in np.meshgrid(np.arange(25.0, 240, 30), np.arange(25.0, 240, 30)))
    here = y.astype(int), x.astype(int)
    flux = 12 * np.sqrt(first.image.variance[here] * first.psf.noise_area).astype(float)
    data = crowd[0].science.data.copy()
    draw(data, crowd[0].sources.psf, x, y, flux, 0.1)
    second = crowd[0].proper(replace(crowd[0].science, data=data))
    assert first.score is not None
    assert second.score is not None
    rise = (second.score - first.score)[here][clean[here]]
    assert rise.size > 40
    assert np.mean(rise > 7) >= 0.9


def test_a_transient_in_a_crowd_is_found(crowd: list[Pair]) -> None:
    assert recovered(crowd[0], 12.0, 20) >= 0.9


def test_the_difference_of_stacks_is_that_of_others(stacks: tuple[Pair, np.ndarray]) -> None:
    frames, theirs = stacks
    difference = frames.subtracted()
    noise = sky_noise(theirs)
    sky = (
        (difference.image.mask == 0)
        & (np.abs(theirs) < 4 * noise)
        & (np.abs(difference.image.data) < 4 * noise)
    )
    assert sky.mean() > 0.9
    assert np.corrcoef(difference.image.data[sky], theirs[sky])[0, 1] > 0.85
    assert sky_noise(difference.image.data, difference.image.mask) < 1.02 * noise
    assert len(found(difference)) + len(found(difference, -1)) <= 2
