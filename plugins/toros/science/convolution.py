"""Convolution with a kernel that changes over the field: values, variances and flags."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from toros.errors import WrongGeometry
from toros.science.flags import PixelFlag
from toros.science.geometry import tiles_of
from toros.science.image import Image
from toros.science.kernel import Kernel

Plane = NDArray[np.float32]

_TILE_ROWS = 64
_NARROWEST, _WIDEST = 16, 128
"""Columns of pixels that share a kernel: its polynomials are followed in such steps ..."""

_STEPS = 32
"""... and at least in so many of them, down to 16 x 16 pixels."""

_OUTSIDE = np.uint8(PixelFlag.NO_DATA)


def convolve(image: Image, kernel: Kernel, *, level: float = 0.0) -> Image:
    """Convolve an image with a kernel that changes over the field.

    Parameters
    ----------
    image : Image
        Flagged pixels are replaced by the mean of their good neighbours (5 x 5).
    kernel : Kernel
        Of the image's shape; its background is not added.
    level : float
        Value of flagged pixels without good neighbours, and of what lies outside of the frame.

    Returns
    -------
    Image
        The variance is that of each pixel alone: neighbours have become alike. Flags spread to wherever
        the kernel puts at least a hundredth of its weight - those of saturated pixels, which lack more light than any
        neighbour tells, over the whole kernel - and NO_DATA in from the edges.

    Raises
    ------
    WrongGeometry
        The kernel is for frames of another shape.
    """
    if kernel.shape != image.shape:
        raise WrongGeometry(f"a kernel for frames of {kernel.shape} pixels, and an image of {image.shape}")
    # numba is for those who convolve, not for all who import this module
    from toros.science import convolution_kernels as kernels

    ny, nx = image.shape
    weights = _whole_blocks(kernel)
    blocks = weights.reshape(len(weights), weights.shape[1] // 3, 3, -1, 3)
    uniform = (blocks == blocks[:, :, :1, :, :1]).all(axis=(0, 2, 4))
    reach = weights.shape[1] // 2
    convolved = Image(np.empty_like(image.data), np.empty_like(image.data), image.mask.copy())
    padded = (_TILE_ROWS + 2 * reach, nx + 2 * reach)
    data, variance, sums, variance_sums = np.zeros((4, *padded), np.float32)
    mask = np.empty(padded, np.uint8)
    across = kernels.SEGMENT if kernel.order == 0 else int(np.clip(nx // _STEPS, _NARROWEST, _WIDEST))
    for rows in tiles_of(ny, _TILE_ROWS):
        top = rows.start - reach
        here = slice(max(top, 0), min(rows.stop + reach, ny))
        inside = slice(here.start - top, here.stop - top)
        for strip, plane, outside in (
            (data, image.data, np.float32(level)),
            (variance, image.variance, np.float32(0)),
            (mask, image.mask, _OUTSIDE),
        ):
            strip[: inside.start] = strip[inside.stop :] = outside
            strip[:, :reach] = strip[:, reach + nx :] = outside
            strip[inside, reach : reach + nx] = plane[here]
        flagged = np.flatnonzero(mask != 0)
        kernels.replace_flagged(data, variance, mask, flagged, level)
        kernels.sum_blocks(data, sums)
        kernels.sum_blocks(variance, variance_sums)
        strips, results = (
            (data, sums, variance, variance_sums),
            (convolved.data[rows], convolved.variance[rows]),
        )
        kernels.convolve_rows(*strips, weights, uniform, rows.start, ny, across, *results)
        kernels.spread_flags(mask, flagged, weights, rows.start, ny, across, convolved.mask[rows])
    return convolved


def _whole_blocks(kernel: Kernel) -> Plane:
    """Return the weights with zeros around them, so that blocks of 3 x 3 pixels fill them."""
    margin = (-kernel.radius - 2) % 3
    return np.pad(kernel.weights, ((0, 0), (margin, margin), (margin, margin))).astype(np.float32)
