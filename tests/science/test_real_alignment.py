"""Frames of real telescopes laid on each other, and stacked, beside what IRAF and others made of them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from toros.science.background import estimate_background
from toros.science.detect import find_stars
from toros.science.flags import PixelFlag
from toros.science.registration import Registration, StarList, register
from toros.science.resample import Polynomial, pixel_map
from toros.science.sources import measure_sources
from toros.science.stack import Stack, StackFrame, stack, stack_weights
from toros.store.fits_file import inspect


def pixels(path: Path) -> np.ndarray:
    image = inspect(path)
    return np.asarray(image.rows()[slice(0, image.shape[0])], np.float32)


def stars_of(data: np.ndarray) -> StarList:
    found = find_stars(data)
    return StarList(found.x, found.y, found.flux, (data.shape[0], data.shape[1]))


def shift_of(found: Registration) -> np.ndarray:
    """How far the middle of the frame has moved."""
    return found.transform.coefficients[0] - found.transform.middle


def stack_frame(data: np.ndarray, transform: Polynomial, gain: float = 1.0) -> StackFrame:
    sky = estimate_background(data)
    extra = max(sky.rms**2 - sky.typical_level / gain, 0.0)
    return StackFrame(
        data,
        np.zeros(data.shape, np.uint8),
        lambda rows, _: np.maximum(rows, 0) / np.float32(gain) + np.float32(extra),
        pixel_map(transform, (data.shape[0], data.shape[1])),
        sky,
    )


def sky_noise(data: np.ndarray) -> float:
    return estimate_background(np.ascontiguousarray(data, np.float32), mesh=32).rms


# --------------------------------------------------------------------------------- a cluster, as in IRAF


@pytest.fixture(scope="module")
def cluster(real_frames: Path) -> list[np.ndarray]:
    return [pixels(path) for path in sorted((real_frames / "registration").glob("Star*"))]


@pytest.fixture(scope="module")
def registered(cluster: list[np.ndarray]) -> list[Registration]:
    reference = stars_of(cluster[4])
    return [register(stars_of(data), reference) for data in cluster]


@pytest.fixture(scope="module")
def iraf_shifts(real_frames: Path) -> np.ndarray:
    text = (real_frames / "registration" / "iraf_registration_shifts.txt").read_text()
    return -np.array(re.findall(r"[xy]shift\s+(\S+)", text), float).reshape(-1, 2)


def by_shift(shift: np.ndarray) -> Polynomial:
    return Polynomial((0.0, 0.0), 1.0, np.array([shift, [1, 0], [0, 1]]))


def residual(data: np.ndarray, transform: Polynomial, reference: np.ndarray) -> float:
    """What is left of the stars when the reference is taken from an aligned frame."""
    aligned = stack_frame(data, transform).aligned(slice(None))
    difference = aligned.data - estimate_background(reference).subtracted(reference)
    bright = reference > np.median(reference) + 1500
    bright[:20] = bright[-20:] = False
    return float(np.sqrt(np.mean(np.square(difference[bright & (aligned.mask == 0)]))))


def test_the_drift_of_a_cluster_is_that_of_iraf(
    registered: list[Registration], iraf_shifts: np.ndarray
) -> None:
    ours = np.array([shift_of(found) for found in registered])
    assert np.median(np.abs(ours - iraf_shifts)) < 0.15
    assert np.abs(ours - iraf_shifts).max() < 0.7  # the frames are stretched by up to 0.1 % too
    assert all(found.n_stars >= 25 and found.rms < 0.4 for found in registered)


def test_stars_are_laid_on_each_other_as_well_as_by_iraf(
    cluster: list[np.ndarray], registered: list[Registration], iraf_shifts: np.ndarray
) -> None:
    left = [
        (residual(data, found.transform, cluster[4]), residual(data, by_shift(shift), cluster[4]))
        for data, found, shift in zip(cluster, registered, iraf_shifts, strict=True)
        if data is not cluster[4]
    ]
    ours, theirs = np.array(left).T
    assert np.median(ours / theirs) < 1


def test_the_stack_of_a_cluster_is_deeper_than_its_frames_and_like_that_of_iraf(
    cluster: list[np.ndarray], registered: list[Registration], real_frames: Path
) -> None:
    result = stack(
        [stack_frame(data, found.transform) for data, found in zip(cluster, registered, strict=True)]
    )
    assert result.clipped.max() < 0.03
    inner = np.s_[20:-20, 20:-20]
    assert sky_noise(result.image.data[inner]) < 0.45 * sky_noise(cluster[4][inner])
    theirs = pixels(real_frames / "registration" / "registeredImage.fit")
    stars, others = (stars_of(np.ascontiguousarray(data[inner])) for data in (result.image.data, theirs))
    assert len(stars.x) > 1.5 * len(stars_of(cluster[4]).x)
    both = register(stars, others)
    assert both.n_stars > 50
    assert both.rms < 0.5


# ------------------------------------------------------------------------------- drifting, rotated fields


def test_a_night_that_drifts_by_140_pixels_is_followed(real_frames: Path) -> None:
    paths = sorted((real_frames / "tres1").glob("tres1-???.fit.gz"))
    lists = [stars_of(pixels(path)) for path in (paths[0], paths[24], paths[-1])]
    found = [register(stars, lists[0]) for stars in lists]
    assert shift_of(found[0]) == pytest.approx([0, 0], abs=1e-6)
    assert shift_of(found[2]) == pytest.approx([140, -141], abs=2)
    assert all(one.n_stars > 700 and one.rms < 0.25 for one in found)
    there_and_back = register(lists[0], lists[2])
    x, y = np.array([400.0, 700.0]), np.array([300.0, 500.0])
    again = np.array(there_and_back.transform(*found[2].transform(x, y)))
    assert np.abs(again - [x, y]).max() < 0.1


def test_a_field_that_was_turned_by_another_mount_is_recognised(real_frames: Path) -> None:
    paths = sorted((real_frames / "seestar_ngc7023").glob("*.gz"))
    lists = [stars_of(pixels(path)) for path in paths]
    found = [register(stars, lists[0]) for stars in lists[1:]]
    assert [round(one.rotation) for one in found] == [0, 0, 121, 121]
    assert all(one.n_stars > 200 and one.rms < 0.3 and not one.mirrored for one in found)


# --------------------------------------------------------------------------------------- DECam cut-outs


def decam(folder: Path, night: str) -> tuple[list[StackFrame], np.ndarray]:
    """Return frames of a set, brought to one scale, and the stack that somebody else made of them."""
    planes = [pixels(path) for path in sorted(folder.glob(f"DEC-OBS{night}?.mini.fits"))]
    whole = by_shift(np.zeros(2))
    frames = [stack_frame(data, whole, gain=4.0) for data in planes]
    fwhm = []
    for one, data in zip(frames, planes, strict=True):
        measured = measure_sources(data, one.mask[:], one.variance(data, slice(None)))
        fwhm.append(measured.psf.fwhm)
    noise = [one.sky.rms for one in frames]
    weights = stack_weights(np.full(len(noise), 25.0), noise, fwhm, np.full(len(noise), 330.0))
    return [
        StackFrame(one.data, one.mask, one.variance, one.places, one.sky, 1.0, weight, width)
        for one, weight, width in zip(frames, weights.weight, fwhm, strict=True)
    ], pixels(folder / f"Stack-DEC-OBS{night}.fits")


def stacked_decam(folder: Path, night: str) -> tuple[list[StackFrame], Stack, np.ndarray]:
    frames, theirs = decam(folder, night)
    return frames, stack(frames), theirs


@pytest.mark.parametrize("night", ["04", "18"])
def test_the_stack_of_decam_frames_is_that_of_its_owner(real_frames: Path, night: str) -> None:
    frames, result, theirs = stacked_decam(real_frames / "decam", night)
    theirs = estimate_background(theirs).subtracted(theirs)
    bright = (theirs > 10 * sky_noise(theirs)) & (result.image.mask == 0)
    slope = np.polyfit(theirs[bright], result.image.data[bright], 1)[0]
    plain = np.mean([one.aligned(slice(None)).data for one in frames], axis=0)
    assert np.corrcoef(theirs[bright], result.image.data[bright])[0, 1] > 0.99
    assert result.image.mask[5:-5, 5:-5].max() < int(PixelFlag.NO_DATA)
    assert slope == pytest.approx(1, abs=0.06)
    assert sky_noise(result.image.data) < 1.05 * sky_noise(plain)  # theirs was smoothed to one seeing
    assert result.clipped.max() < 0.02
