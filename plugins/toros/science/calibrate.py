"""One frame from raw counts to electrons, with its variance and its mask."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from toros.errors import BadParameters, WrongGeometry
from toros.science.flags import MaskPlane, PixelFlag, raise_flag
from toros.science.geometry import Geometry, Rows, TrimmedRows, tiles_of

FLAT_FLOOR = 0.1
"""Below this response a pixel is not corrected but flagged: dividing by it would only amplify noise."""

_TILE_PIXELS = 1 << 16
"""Pixels per tile: the float32 rows of raw frame, masters and results stay in the second-level cache."""


@dataclass(frozen=True)
class CalibratedFrame:
    """A science frame in electrons.

    Parameters
    ----------
    data : ndarray of float32
        Electrons per pixel at unit flat response; finite everywhere.
    variance : ndarray of float32
        Of `data`, electron^2.
    mask : ndarray of uint8
        Bits of `PixelFlag`.
    """

    data: NDArray[np.float32]
    variance: NDArray[np.float32]
    mask: MaskPlane


def calibrate(
    raw: Rows,
    geometry: Geometry,
    *,
    bias: Rows | None = None,
    dark: Rows | None = None,
    dark_scale: float = 1.0,
    flat: Rows | None = None,
    flat_uncertainty: Rows | None = None,
    bad_pixels: Rows | None = None,
    saturation: float | None = None,
) -> CalibratedFrame:
    """Calibrate one raw frame.

    Parameters
    ----------
    raw : Rows
        Raw frame as the camera wrote it, ADU, of shape ``geometry.raw_shape``.
    geometry : Geometry
        Amplifiers with gain and read noise; their overscan level is subtracted where there is one.
    bias : Rows, optional
        Master bias, ADU, of shape ``geometry.shape``, as all the masters.
    dark : Rows, optional
        Master dark, ADU, without the pedestal. Only where there is neither bias nor overscan does
        it hold the pedestal too, and then its exposure time must be that of the frame.
    dark_scale : float
        Exposure time of the frame over that of the dark.
    flat : Rows, optional
        Master flat, normalised to about one.
    flat_uncertainty : Rows, optional
        Standard error of `flat`.
    bad_pixels : Rows, optional
        uint8 plane of `PixelFlag` bits, copied into the mask.
    saturation : float, optional
        Raw ADU from which on a pixel is flagged as saturated.

    Returns
    -------
    CalibratedFrame
        Where the flat is below `FLAT_FLOOR` or not a number, pixels are left unflattened and flagged
        ``NO_DATA``; values that are not finite become zero, with zero variance, and are flagged ``NO_DATA``.

    Raises
    ------
    WrongGeometry
        If a frame has not the shape that the geometry states.
    BadParameters
        If a dark that holds the pedestal would be scaled.

    Notes
    -----
    The variance is ``(max(signal, 0) + read_noise**2) / flat**2``, where the signal in electrons has lost the
    pedestal but still holds the dark current: the pedestal carries no Poisson noise, the dark current
    does (Howell 2006, Handbook of CCD Astronomy, 4.4). `flat_uncertainty` adds
    ``(data * flat_uncertainty / flat)**2``. The noise of master bias and dark, common to all frames
    of a night, is not in it. Without bias, overscan and dark the pedestal stays in data and variance.
    """
    trimmed = TrimmedRows(raw, geometry)
    masters = {"bias": bias, "dark": dark, "flat": flat, "flat error": flat_uncertainty, "mask": bad_pixels}
    for name, plane in masters.items():
        if plane is not None and tuple(plane.shape) != geometry.shape:
            raise WrongGeometry(f"the master {name} has {plane.shape} pixels, the image {geometry.shape}")
    dark_has_pedestal = bias is None and not geometry.has_overscan
    if dark is not None and dark_has_pedestal and dark_scale != 1:
        raise BadParameters(
            f"a dark that holds the pedestal cannot be scaled by {dark_scale:g}",
            advice="give a master bias, or a dark of the same exposure time",
        )
    pedestal, current = (dark, None) if dark_has_pedestal else (bias, dark)
    data, variance = np.empty(geometry.shape, np.float32), np.empty(geometry.shape, np.float32)
    mask = np.zeros(geometry.shape, np.uint8)
    for rows in tiles_of(geometry.shape[0], max(1, _TILE_PIXELS // geometry.shape[1])):
        tile = CalibratedFrame(data[rows], variance[rows], mask[rows])
        adu, signal = trimmed.read(rows)
        if bad_pixels is not None:
            tile.mask[...] = bad_pixels[rows]
        if saturation is not None:
            _flag_saturated(tile, adu, saturation)
        with np.errstate(invalid="ignore"):  # what is not a number is flagged in the end
            _subtract(tile, signal, _part(pedestal, rows), _part(current, rows), dark_scale)
            _to_electrons(tile, rows, geometry)
            if flat is not None:
                _divide_by_flat(tile, flat[rows], _part(flat_uncertainty, rows))
            _drop_not_finite(tile)
    return CalibratedFrame(data, variance, mask)


def variance_of(
    data: ArrayLike,
    *,
    dark_electrons: ArrayLike = 0.0,
    flat: ArrayLike = 1.0,
    flat_uncertainty: ArrayLike = 0.0,
    read_noise: ArrayLike,
) -> NDArray[np.float32]:
    """Return the variance plane of a stored calibrated frame, as `calibrate` gave it.

    Only where a value was not finite, flagged ``NO_DATA`` and set to zero, it is not that of `calibrate`.

    Parameters
    ----------
    data : array
        Calibrated frame or some rows of it, electron.
    dark_electrons : array or float
        Dark current that was subtracted: dark * dark_scale * gain, electron. Zero where the
        dark held the pedestal too.
    flat, flat_uncertainty : array or float
        Master flat, and its standard error, that were used.
    read_noise : array or float
        Electron; an array where amplifiers differ (`Geometry.plane`).

    Returns
    -------
    ndarray of float32
        Electron^2.
    """
    values = np.asarray(data, np.float32)
    response = np.asarray(flat, np.float32)
    usable = response >= FLAT_FLOOR
    divisor = np.where(usable, response, np.float32(1))
    signal = np.maximum(values * divisor + np.asarray(dark_electrons, np.float32), 0)
    variance = (signal + np.square(np.asarray(read_noise, np.float32))) / np.square(divisor)
    relative = np.where(usable, np.asarray(flat_uncertainty, np.float32), np.float32(0)) / divisor
    return np.asarray(variance + np.square(values * relative), np.float32)


def _part(plane: Rows | None, rows: slice) -> NDArray[Any] | None:
    return None if plane is None else plane[rows]


def _flag_saturated(tile: CalibratedFrame, adu: NDArray[Any], saturation: float) -> None:
    limit = ceil(saturation) if adu.dtype.kind in "iu" else saturation
    raise_flag(tile.mask, adu >= limit, PixelFlag.SATURATED)


def _subtract(
    tile: CalibratedFrame,
    signal: NDArray[Any],
    pedestal: NDArray[Any] | None,
    dark_current: NDArray[Any] | None,
    dark_scale: float,
) -> None:
    """Leave the signal (ADU) in the tile's variance, and in its data the signal without the dark current."""
    if pedestal is None:
        tile.data[...] = signal
    else:
        np.subtract(signal, pedestal, out=tile.data, dtype=np.float32)
    np.maximum(tile.data, 0, out=tile.variance)
    if dark_current is not None:
        tile.data[...] -= dark_current if dark_scale == 1 else dark_current * np.float32(dark_scale)


def _to_electrons(tile: CalibratedFrame, rows: slice, geometry: Geometry) -> None:
    for amplifier, section in geometry.within(rows):
        tile.data[section] *= np.float32(amplifier.gain)
        tile.variance[section] *= np.float32(amplifier.gain)
        tile.variance[section] += np.float32(amplifier.read_noise**2)


def _divide_by_flat(tile: CalibratedFrame, flat: NDArray[Any], uncertainty: NDArray[Any] | None) -> None:
    usable = flat >= FLAT_FLOOR
    if not usable.all():
        raise_flag(tile.mask, ~usable, PixelFlag.NO_DATA)
        flat = np.where(usable, flat, 1)
    inverse = np.reciprocal(flat, dtype=np.float32)
    tile.data[...] *= inverse
    if uncertainty is None:
        inverse *= inverse
        tile.variance[...] *= inverse
        return
    relative = np.where(usable, uncertainty, 0).astype(np.float32) * inverse
    inverse *= inverse
    tile.variance[...] *= inverse
    tile.variance[...] += np.square(tile.data * relative)


def _drop_not_finite(tile: CalibratedFrame) -> None:
    if isfinite(tile.data.sum()) and isfinite(tile.variance.sum()):
        return
    wrong = ~(np.isfinite(tile.data) & np.isfinite(tile.variance))
    tile.data[wrong] = tile.variance[wrong] = 0
    raise_flag(tile.mask, wrong, PixelFlag.NO_DATA)
