"""What differs from one simulated difference to the next: seeing, sky, camera, crowd, and how well frames agree."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from toros.sim.psf import Psf

_LEAST_STARS = 5e-4
"""Stars per pixel without which frames are not matched."""


@dataclass(frozen=True)
class Weather:
    """What differs from scene to scene."""

    psf: Psf
    """Of the reference."""
    sky: float
    read_noise: float
    saturation: float
    reference_frames: int
    stars: int
    shift: tuple[float, float]
    scale: float
    science_psf: Psf
    scatter: float
    """Of the places of single sources between the frames, px in each axis: air and colours, which no kernel follows."""

    @property
    def noise(self) -> float:
        """Of a pixel of the difference, electron."""
        return math.sqrt((self.sky + self.read_noise**2) * (1 + 1 / self.reference_frames))


def draw_weather(rng: np.random.Generator, shape: tuple[int, int]) -> Weather:
    """Draw the weather of a frame, (ny, nx), and of a reference that is nearly like it."""
    fwhm = rng.uniform(2.0, 5.0)
    psf = Psf(fwhm)
    blurred = Psf(
        fwhm * (1 + rng.normal(0, 0.01)), ellipticity=abs(rng.normal(0, 0.01)), angle=rng.uniform(0, 180)
    )
    size = rng.uniform(0, 0.3)
    heading = rng.uniform(0, 2 * math.pi)
    return Weather(
        psf=psf,
        sky=float(10 ** rng.uniform(1.7, 3.3)),
        read_noise=rng.uniform(3, 12),
        saturation=float(10 ** rng.uniform(4.0, 5.0)),
        reference_frames=int(rng.integers(1, 20)),
        stars=int(rng.uniform(2e-4, 2e-3) * shape[0] * shape[1]),
        shift=(size * math.cos(heading), size * math.sin(heading)),
        scale=1 + rng.normal(0, 0.003),
        science_psf=blurred,
        scatter=0.0,
    )


def in_other_seeing(rng: np.random.Generator, weather: Weather, shape: tuple[int, int]) -> Weather:
    """Return the weather of a science frame that is not like its reference."""
    profile = Psf(
        weather.psf.fwhm * float(rng.lognormal(0.05, 0.15)),
        ellipticity=abs(rng.normal(0, 0.05)),
        angle=rng.uniform(0, 180),
    )
    return replace(
        weather,
        science_psf=profile,
        stars=max(weather.stars, int(_LEAST_STARS * shape[0] * shape[1])),
        scale=rng.uniform(0.7, 1.3),
        scatter=rng.uniform(0, 0.06),
    )
