"""Frames with known stars, in electrons, as they come out of calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toros.science.flags import PixelFlag
from toros.sim import (
    Conditions,
    Psf,
    add_stars,
    azulcito,
    build_detector,
    camera_wcs,
    illuminate,
    sky_field,
    take_light,
    without_flaws,
)

ROUND = Psf(3.0)
FAIR = Conditions(seeing=1.3, cosmic_ray_rate=0.0)


@dataclass(frozen=True)
class Starry:
    """A frame and what is truly on it: positions (0-based px), electrons, and which of them are stars."""

    data: np.ndarray
    variance: np.ndarray
    mask: np.ndarray
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    is_star: np.ndarray
    noise: float
    """Standard deviation of a pixel of the sky."""

    def snr(self, psf: Psf) -> np.ndarray:
        """Signal-to-noise ratio that the best possible photometry would give."""
        y, x = np.mgrid[-30:31, -30:31].astype(np.float32)
        profile = psf(x, y).astype(float)
        variance = self.noise**2 + self.flux[:, None, None] * profile
        return self.flux * np.sqrt((profile**2 / variance).sum(axis=(1, 2)))


def starry(
    x: np.ndarray | list[float],
    y: np.ndarray | list[float],
    flux: np.ndarray | list[float],
    *,
    shape: tuple[int, int] = (200, 210),
    psf: Psf | list[Psf] = ROUND,
    sky: float = 200.0,
    read_noise: float = 5.0,
    seed: int = 1,
) -> Starry:
    """Stars of known places on an even sky; each with a profile of its own if a list is given."""
    x, y, flux = (np.asarray(values, float) for values in (x, y, flux))
    light = np.zeros(shape, np.float32)
    if isinstance(psf, Psf):
        add_stars(light, x, y, flux, psf)
    else:
        for star, own in enumerate(psf):
            add_stars(light, x[[star]], y[[star]], flux[[star]], own)
    rng = np.random.default_rng(seed)
    data = rng.poisson(light + sky) + rng.normal(0, read_noise, shape)
    data = data.astype(np.float32)
    return Starry(
        data,
        np.maximum(data, 0) + np.float32(read_noise**2),
        np.zeros(shape, np.uint8),
        x,
        y,
        flux,
        np.ones(x.size, bool),
        float(np.hypot(sky**0.5, read_noise)),
    )


def random_stars(count: int, shape: tuple[int, int], faint: float, bright: float, seed: int = 5) -> list:
    """Return x, y, flux of stars strewn over a frame."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(8, shape[1] - 9, count), rng.uniform(8, shape[0] - 9, count)
    return [x, y, faint * (bright / faint) ** rng.random(count)]


def simulated_field(
    shape: tuple[int, int] = (1024, 1024),
    *,
    density: float = 5.0,
    conditions: Conditions = FAIR,
    seed: int = 3,
) -> tuple[Starry, Psf]:
    """A flat-fielded frame of the simulated sky, with galaxies and saturated stars, and its true profile."""
    camera = without_flaws(azulcito(shape))
    detector, band, wcs = build_detector(camera), camera.band("R"), camera_wcs(camera, 150.0, -30.0)
    radius = 0.75 * max(shape) * camera.pixel_scale / 3600
    sources = sky_field(150.0, -30.0, radius, density=density, seed=seed)
    rng = np.random.default_rng(seed)
    frame = take_light(detector, sources, wcs, band, 60.0, rng, conditions=conditions)
    assert frame.truth is not None
    flat = np.ones(shape, np.float32)
    illuminate(flat, detector, band)
    data = (frame.data.astype(np.float32) - np.float32(camera.bias_level)) * np.float32(camera.gain)
    dark = camera.dark_current * 60.0
    truth = frame.truth
    field = Starry(
        (data - np.float32(dark)) / flat,
        (np.maximum(data, 0) + np.float32(camera.read_noise**2)) / flat**2,
        frame.masks["saturated"] * np.uint8(PixelFlag.SATURATED),
        *(np.asarray(truth[name]) for name in ("x", "y", "flux")),
        np.asarray(truth["kind"]) == "star",
        float(np.sqrt(truth.meta["sky"] + dark + camera.read_noise**2)),
    )
    psf = Psf(truth.meta["fwhm"], ellipticity=conditions.ellipticity, angle=conditions.trail_angle)
    return field, psf
