"""Differences of frames in which little has happened, and known things have."""

from __future__ import annotations

import numpy as np

from toros.science.image import Image
from toros.science.psf import Psf, draw, guess_psf
from toros.science.shapes import StarShape

SHAPE = (240, 260)
NOISE = 10.0
ROUND = guess_psf(SHAPE, StarShape(3.0, 0.0, 0.0, 0))


def light_of(
    x: np.ndarray | list[float],
    y: np.ndarray | list[float],
    flux: np.ndarray | list[float],
    psf: Psf = ROUND,
) -> np.ndarray:
    """Stars without noise."""
    plane = np.zeros(psf.shape, np.float32)
    draw(plane, psf, *(np.asarray(values, float) for values in (x, y, flux)), 1e-2)
    return plane


def quiet(seed: int = 1, shape: tuple[int, int] = SHAPE) -> Image:
    """A difference in which nothing has changed."""
    noise = np.random.default_rng(seed).normal(0, NOISE, shape).astype(np.float32)
    return Image(noise, np.full(shape, NOISE**2, np.float32), np.zeros(shape, np.uint8))


def changed(light: np.ndarray, seed: int = 1) -> Image:
    """A difference with more, or less, light."""
    image = quiet(seed, light.shape)
    rng = np.random.default_rng(seed + 100)
    image.data[:] += np.sign(light) * rng.poisson(np.abs(light))
    image.variance[:] += np.abs(light)
    return image


def flux_at(snr: float, psf: Psf = ROUND) -> float:
    """Electrons of a faint star of that signal-to-noise ratio."""
    return snr * NOISE * psf.noise_area**0.5
