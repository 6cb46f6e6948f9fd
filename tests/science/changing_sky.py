"""Two frames of one field on one grid of pixels, in different seeing, and what is new in the second."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.table import QTable
from starry_frames import random_stars

from toros.science.image import Image
from toros.science.psf import Psf, guess_psf
from toros.science.shapes import StarShape
from toros.sim import Psf as Profile
from toros.sim import add_galaxies, add_stars

READ_NOISE = 5.0


@dataclass(frozen=True)
class Changing:
    """A science frame, its reference, the stars of both, and what is new."""

    science: Image
    reference: Image
    stars: QTable
    science_psf: Psf
    reference_psf: Psf
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray

    @property
    def given(self) -> tuple:
        return self.science, self.reference, self.stars, self.science_psf, self.reference_psf


def exposed(light: np.ndarray, sky: float, rng: np.random.Generator) -> Image:
    """Expose on that light and an even sky."""
    data = (rng.poisson(light + sky) + rng.normal(0, READ_NOISE, light.shape)).astype(np.float32)
    return Image(data, np.maximum(data, 0) + np.float32(READ_NOISE**2), np.zeros(light.shape, np.uint8))


def moffat(shape: tuple[int, int], fwhm: float) -> Psf:
    return guess_psf(shape, StarShape(fwhm, 0.0, 0.0, 1))


def changing_sky(
    *,
    shape: tuple[int, int] = (600, 620),
    fwhm: tuple[float, float] = (3.2, 2.6),
    scale: float = 1.2,
    skies: tuple[float, float] = (300.0, 200.0),
    stars: int = 250,
    snr: float = 10.0,
    new: int = 40,
    shift: tuple[float, float] = (0.0, 0.0),
    seed: int = 1,
) -> Changing:
    """Draw both frames: half of what is new sits on galaxies, all of it at `snr` of the science frame alone."""
    rng = np.random.default_rng(seed)
    profiles = [Profile(width) for width in fwhm]
    x, y, flux = random_stars(stars, shape, 500.0, 2e5, seed)
    galaxy_x, galaxy_y, galaxy_flux = random_stars(new // 2, shape, 3e3, 3e4, seed + 1)
    galaxies = {
        "half_light_radius": rng.uniform(1.5, 4, new // 2),
        "axis_ratio": rng.uniform(0.4, 1, new // 2),
        "angle": rng.uniform(0, 180, new // 2),
        "sersic_index": np.ones(new // 2),
    }
    new_x = np.append(galaxy_x + 1.3, rng.uniform(20, shape[1] - 20, new - new // 2))
    new_y = np.append(galaxy_y - 0.7, rng.uniform(20, shape[0] - 20, new - new // 2))
    planes = []
    for profile, (dx, dy) in zip(profiles, ((0.0, 0.0), shift), strict=True):
        light = np.zeros(shape, np.float32)
        add_stars(light, x + dx, y + dy, flux, profile)
        add_galaxies(light, galaxy_x + dx, galaxy_y + dy, galaxy_flux, **galaxies, psf=profile)
        planes.append(light)
    planes[0] *= np.float32(scale)
    psf = moffat(shape, fwhm[0])
    here = tuple(np.rint([new_y, new_x]).astype(int))
    new_flux = snr * np.sqrt((skies[0] + planes[0][here] + READ_NOISE**2) * psf.noise_area) + snr**2 / 2
    add_stars(planes[0], new_x, new_y, new_flux, profiles[0])
    table = QTable({"x": x * u.pix, "y": y * u.pix, "flags": np.zeros(x.size, int)})
    noise = np.sqrt(scale * flux + psf.noise_area * (skies[0] + READ_NOISE**2))
    table["snr"] = scale * flux / noise
    frames = [exposed(light, sky, rng) for light, sky in zip(planes, skies, strict=True)]
    return Changing(*frames, table, psf, moffat(shape, fwhm[1]), new_x, new_y, new_flux)
