"""Level and noise of the sky, from a sample of the pixels: numbers that tell how good a frame is."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toros.errors import NotFinite

MAD_TO_SIGMA = 1.0 / NormalDist().inv_cdf(0.75)
"""Standard deviation of a normal distribution over its median absolute deviation."""

_SAMPLE = 100_000
_CLIP_SIGMA = 3.0
_ROUNDS = 5


def sky_level(data: NDArray[Any], mask: NDArray[Any] | None = None) -> float:
    """Return the level of the sky: the median of a sample of the pixels, without stars.

    Parameters
    ----------
    data : ndarray
        Frame, in any unit.
    mask : ndarray, optional
        Pixels to leave out are not zero (a mask plane, or bool).

    Returns
    -------
    float
        In the unit of `data`. Known to about 0.4 % of the noise of a pixel.

    Raises
    ------
    NotFinite
        If no pixel is left, or values are not finite.
    """
    return float(np.median(_sky_sample(data, mask)))


def sky_noise(data: NDArray[Any], mask: NDArray[Any] | None = None) -> float:
    """Return the noise of the sky in one pixel: the scaled median absolute deviation of the same sample.

    The parameters, unit and errors are those of `sky_level`. A gradient over the frame counts as noise.
    """
    sample = _sky_sample(data, mask)
    return float(MAD_TO_SIGMA * np.median(np.abs(sample - np.median(sample))))


def _sky_sample(data: NDArray[Any], mask: NDArray[Any] | None) -> NDArray[Any]:
    """Return a grid of some 100 000 unmasked pixels, clipped about their median until nothing changes."""
    step = round((data.size / _SAMPLE) ** 0.5) | 1  # odd: meets all colours of a Bayer pattern
    sample = data[::step, ::step]
    sample = sample.ravel() if mask is None else sample[np.equal(mask[::step, ::step], 0)]
    if not (sample.size and np.isfinite(sample).all()):
        raise NotFinite("the sky cannot be measured: every pixel is masked, or some are not numbers")
    for _ in range(_ROUNDS):
        middle = np.median(sample)
        distance = np.abs(sample - middle)
        kept = distance <= _CLIP_SIGMA * MAD_TO_SIGMA * np.median(distance)
        if kept.all():
            break
        sample = sample[kept]
    return sample
