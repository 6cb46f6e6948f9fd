"""The inner loop of `toros.science.difference`, compiled."""

from __future__ import annotations

import numpy as np
from numba import njit

from toros.science.flags import MaskPlane
from toros.science.image import Plane


@njit(cache=True, nogil=True, fastmath={"contract"})
def _polynomial(coefficients: Plane, v: float, u: float) -> float:
    """Return a polynomial over the field, with the six terms of `toros.science.psf.field_terms`."""
    one, x, y = coefficients[0], coefficients[1], coefficients[2]
    xx, xy, yy = coefficients[3], coefficients[4], coefficients[5]
    return (one + (y + yy * v) * v) + ((x + xy * v) + xx * u) * u


@njit(cache=True, nogil=True, fastmath={"contract"})
def subtract_planes(
    data: Plane,
    variance: Plane,
    mask: MaskPlane,
    target: Plane,
    target_variance: Plane,
    target_mask: MaskPlane,
    scale: Plane,
    background: Plane,
    level: float,
    error: float,
    is_science: bool,
) -> None:
    """Turn a convolved frame, with its variance and flags, into the target minus it.

    `scale` and `background` are the polynomials, of six terms each, of the kernel's sum and of what is to be added.
    `error` is relative to the light above `level` times the scale. With `is_science` the convolved frame
    is the science frame: the difference is turned round, and brought back to its flux scale.
    """
    ny, nx = data.shape
    sky, share, one, nothing = np.float32(level), np.float32(error), np.float32(1), np.float32(0)
    across = np.array([2 * x / max(nx - 1, 1) - 1 for x in range(nx)], np.float32)
    for y in range(ny):
        v = np.float32(2 * y / max(ny - 1, 1) - 1)
        values, spread, flags = data[y], variance[y], mask[y]
        theirs, their_variance, their_flags = target[y], target_variance[y], target_mask[y]
        for x in range(nx):
            light = values[x] - sky * _polynomial(scale, v, across[x])
            light = share * light if light > nothing else nothing
            values[x] = theirs[x] - values[x] - _polynomial(background, v, across[x])
            spread[x] += their_variance[x] + light * light
        if is_science:
            for x in range(nx):
                factor = one / _polynomial(scale, v, across[x])
                values[x] *= -factor
                spread[x] *= factor * factor
        for x in range(nx):
            flags[x] |= their_flags[x]
        for x in range(nx):
            values[x] = nothing if flags[x] else values[x]
