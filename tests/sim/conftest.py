from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import WCS

from toros.sim import Detector, SimulatedCamera, azulcito, build_detector, sta1600, without_flaws


@pytest.fixture(scope="session")
def camera() -> SimulatedCamera:
    return azulcito((256, 256))


@pytest.fixture(scope="session")
def detector(camera: SimulatedCamera) -> Detector:
    return build_detector(camera)


@pytest.fixture(scope="session")
def flawless() -> Detector:
    """A chip that adds nothing to the light but bias level, dark current and noise."""
    return build_detector(without_flaws(azulcito((256, 256))))


@pytest.fixture(scope="session")
def mosaic() -> Detector:
    """TOROS's sixteen amplifiers on 528 x 528 pixels."""
    return build_detector(sta1600(scale=20))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261120)


@pytest.fixture(scope="session")
def good_pixels() -> Callable[[Detector], np.ndarray]:
    def good(detector: Detector) -> np.ndarray:
        return ~np.any(list(detector.bad_pixels().values()), axis=0)

    return good


@pytest.fixture(scope="session")
def stars_at() -> Callable[..., Table]:
    """Stars that a camera sees at given pixels."""

    def stars(wcs: WCS, x: np.ndarray, y: np.ndarray, mag: np.ndarray) -> Table:
        ra, dec = wcs.all_pix2world(x, y, 0)
        one = np.ones(len(ra))
        return Table(
            {
                "name": [f"star {number}" for number in range(len(ra))],
                "kind": ["star"] * len(ra),
                "ra": ra,
                "dec": dec,
                "mag": mag * one,
                "colour": 0 * one,
                "half_light_radius": 0 * one,
                "axis_ratio": one,
                "position_angle": 0 * one,
                "sersic_index": one,
            }
        )

    return stars
