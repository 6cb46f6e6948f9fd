"""What falls on a chip besides the light of the sky: cosmic rays, satellites, and charge that overflows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ELECTRONS_PER_MICROMETRE = 80.0
"""Charge that a minimum-ionising particle leaves in silicon (Groom 2002)."""

_CHIP_THICKNESS = 15.0
"""Micrometres of silicon that collect charge."""

_STEP = 0.1
"""Track step, px."""


def cosmic_rays(
    shape: tuple[int, int], pixel_size: float, expected: float, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Draw the tracks of cosmic rays.

    Muons cross the chip in straight lines, with a path through the silicon that grows as they come in
    flatter; one track in five is a slow electron that wanders and leaves more charge (the "worms" of
    Groom 2002).

    Parameters
    ----------
    shape : (int, int)
        Of the chip.
    pixel_size : float
        Micrometres.
    expected : float
        Mean number of tracks.
    rng : Generator
        Source of chance.

    Returns
    -------
    where : int array
        Flat indices of the pixels hit, each once.
    charge : float32 array
        Electrons left there, more than 1 in each.
    """
    count = rng.poisson(expected)
    slope = np.tan(np.arccos(np.sqrt(rng.uniform(0.02, 1.0, count))))
    worm = rng.random(count) < 0.2
    length = np.where(worm, rng.exponential(8.0, count), slope * _CHIP_THICKNESS / pixel_size)
    path = np.hypot(length * pixel_size, _CHIP_THICKNESS)
    charge = _ELECTRONS_PER_MICROMETRE * path * rng.lognormal(0.0, 0.3, count) * np.where(worm, 2.0, 1.0)
    steps = np.maximum(1, np.ceil(length / _STEP)).astype(np.intp)
    track = np.repeat(np.arange(count), steps)
    bend = np.where(worm[track], 0.15, 0.0) * rng.standard_normal(track.size)
    heading = rng.uniform(0, 2 * math.pi, count)[track] + _cumulative_per_track(bend, steps)
    y = rng.uniform(0, shape[0], count)[track] + _cumulative_per_track(_STEP * np.sin(heading), steps)
    x = rng.uniform(0, shape[1], count)[track] + _cumulative_per_track(_STEP * np.cos(heading), steps)
    return _deposit(shape, y, x, (charge / steps)[track])


def satellite_trail(
    shape: tuple[int, int], electrons_per_pixel: float, fwhm: float, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Draw the straight trail of a satellite that crosses the whole frame.

    Parameters
    ----------
    shape : (int, int)
        Of the frame.
    electrons_per_pixel : float
        Charge along the trail, e- per px of its length.
    fwhm : float
        Width of its Gaussian profile, px.
    rng : Generator
        Draws the point it passes, in the central half of the frame, and the direction.

    Returns
    -------
    where : int array
        Flat indices of the pixels that receive more than 0.1 electron, each once.
    charge : float32 array
        Electrons there.
    """
    ny, nx = shape
    y0, x0 = ny * rng.uniform(0.25, 0.75), nx * rng.uniform(0.25, 0.75)
    angle = rng.uniform(0, math.pi)
    sin, cos = math.sin(angle), math.cos(angle)
    sigma = fwhm / (2 * math.sqrt(2 * math.log(2)))
    half = math.ceil(5 * math.sqrt(2) * sigma)  # of a row or column: the trail may cross it at 45 degrees
    across = np.arange(-half, half + 1)
    if abs(cos) > abs(sin):
        x = np.arange(nx)[:, None]
        y = np.rint(y0 + (x - x0) * (sin / cos)).astype(np.intp) + across
    else:
        y = np.arange(ny)[:, None]
        x = np.rint(x0 + (y - y0) * (cos / sin)).astype(np.intp) + across
    y, x = np.broadcast_arrays(y, x)
    distance = (x - x0) * sin - (y - y0) * cos
    charge = electrons_per_pixel / (sigma * math.sqrt(2 * math.pi)) * np.exp(-0.5 * (distance / sigma) ** 2)
    seen = (y >= 0) & (y < ny) & (x >= 0) & (x < nx) & (charge > 0.1)
    return np.ravel_multi_index((y[seen], x[seen]), shape), charge[seen].astype(np.float32)


def bleed(electrons: NDArray[np.float32], full_well: float) -> None:
    """Let the charge above `full_well` (e-) of every pixel flow up and down its column, in place."""
    for column in np.flatnonzero((electrons > full_well).any(axis=0)):
        charge = electrons[:, column].astype(np.float64)
        excess = np.maximum(charge - full_well, 0.0) / 2
        np.minimum(charge, full_well, out=charge)
        _spill(charge, excess, full_well)
        _spill(charge[::-1], excess[::-1], full_well)
        electrons[:, column] = charge


def _cumulative_per_track(values: NDArray[np.float64], steps: NDArray[np.intp]) -> NDArray[np.float64]:
    """Cumulative sums that start anew with every track."""
    total = np.cumsum(values)
    starts = np.cumsum(steps) - steps
    before = np.where(starts > 0, total[starts - 1], 0.0) if total.size else total
    run: NDArray[np.float64] = total - np.repeat(before, steps)
    return run


def _deposit(
    shape: tuple[int, int], y: NDArray[np.float64], x: NDArray[np.float64], charge: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Collect the charge of points in their pixels."""
    row, column = np.floor(y).astype(np.intp), np.floor(x).astype(np.intp)
    inside = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
    hit = np.ravel_multi_index((row[inside], column[inside]), shape)
    where, group = np.unique(hit, return_inverse=True)
    collected = np.bincount(group, charge[inside], where.size)
    enough = collected > 1.0
    return where[enough], collected[enough].astype(np.float32)


def _spill(charge: NDArray[np.float64], excess: NDArray[np.float64], full_well: float) -> None:
    """Move the excess along the column until pixels with room have taken it; the rest leaves the chip."""
    first, last = np.flatnonzero(excess)[[0, -1]]
    carried = 0.0
    for row in range(first, charge.size):
        carried += excess[row]
        taken = min(carried, full_well - charge[row])
        charge[row] += taken
        carried -= taken
        if row >= last and carried <= 0:
            break
