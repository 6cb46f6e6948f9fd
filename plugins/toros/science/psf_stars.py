"""The point-spread function of a frame, measured from its stars."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from toros.science.flags import MaskPlane
from toros.science.noise import MAD_TO_SIGMA
from toros.science.psf import TABLE_STEP, Psf, field_terms
from toros.science.psf_fit import fit_sources, inverses
from toros.science.stamps import discs_at

Plane = NDArray[np.float32]
Values = NDArray[np.float64]
Indices = NDArray[np.intp]

_RADIUS = 2.5
"""Pixels within so many FWHM of a star are fitted."""

_ROUNDS = 12
_BETA_RANGE = (1.1, 20.0)
_PROFILE_ERROR = 0.01
"""Relative error of the profile itself: the brightest star alone must not decide."""

_CLIP = 3.5
"""Stars whose shape differs by so many standard deviations are left out: galaxies, blends."""

_ALIKE = 0.02
"""Relative difference of the squared radii at which any two stars are alike."""

_STARS_PER_TERM = 10


def measure_psf(
    frame: Plane, mask: MaskPlane, sky_noise: float | Values, x: Values, y: Values, flux: Values, guess: Psf
) -> Psf:
    """Measure the point-spread function from bright, isolated, unsaturated stars.

    Parameters
    ----------
    frame : ndarray of float32, shape (ny, nx), contiguous
        Without its sky, electron.
    mask : ndarray of uint8
        Bits of `PixelFlag`; flagged pixels carry no weight.
    sky_noise : float or ndarray of float64
        Standard deviation of a pixel of the sky around each star, electron.
    x, y, flux : ndarray of float64
        The stars; positions (0-based px) within half a FWHM.
    guess : Psf
        To begin with.

    Returns
    -------
    Psf
        Constant from fewer than 30 stars, linear over the field from 30, quadratic from 60; what
        differs from its neighbours - galaxies, blends - is left out. The guess if no star can be fitted.
    """
    stars = _fit_moffats(frame, mask, np.broadcast_to(sky_noise, x.shape), x, y, flux, guess)
    if not stars.good.any():
        return guess
    stars = stars.chosen(stars.good)
    beta = float(np.clip(_weighted_median(stars.beta, stars.weight), 1.5, 8))
    psf = replace(guess, beta=beta)
    sky = np.broadcast_to(sky_noise, x.shape)[stars.number]
    stars = _fit_moffats(frame, mask, sky, stars.x, stars.y, stars.flux, psf, free_beta=False)
    if not stars.good.any():
        return guess
    stars = stars.chosen(stars.good)
    kept, moments = _polynomials(stars, guess.shape)
    psf = Psf(guess.shape, beta, moments, int(kept.sum()))
    stars, sky = stars.chosen(kept), sky[stars.number][kept]
    return replace(psf, table=_table(frame, mask, sky, psf, stars))


@dataclass(frozen=True, eq=False)
class _Moffats:
    """Stars fitted with elliptical Moffat profiles of their own.

    `number` is their place among those given, `moments` (3, n) their squared Moffat radii, `weight` the
    inverse variance of the logarithm of their size.
    """

    number: Indices
    x: Values
    y: Values
    flux: Values
    moments: Values
    beta: Values
    weight: Values
    good: NDArray[np.bool_]

    def chosen(self, which: NDArray[np.bool_]) -> _Moffats:
        return _Moffats(
            self.number[which],
            self.x[which],
            self.y[which],
            self.flux[which],
            self.moments[:, which],
            self.beta[which],
            self.weight[which],
            self.good[which],
        )


def _fit_moffats(
    frame: Plane,
    mask: MaskPlane,
    sky: Values,
    x: Values,
    y: Values,
    flux: Values,
    guess: Psf,
    *,
    free_beta: bool = True,
) -> _Moffats:
    """Fit each star alone: position, peak, shape, and the slope if it is free (Levenberg & Marquardt)."""
    middle = guess.middle
    radius = max(4.0, _RADIUS * middle.fwhm / np.sqrt(1 - middle.ellipticity))
    discs = discs_at(frame.shape, x, y, radius)
    good = discs.inside & (mask.reshape(-1)[discs.index] == 0)
    data = frame.reshape(-1)[discs.index].astype(float)
    column, row = (offset.astype(float) for offset in discs.offsets(x, y))
    xx, yy, xy = guess.moments_at(x, y)
    root = np.sqrt(xx * yy - xy**2)
    peak = np.maximum(flux, 1.0) * (guess.beta - 1) / (np.pi * root)
    nothing = np.zeros(x.size)
    values = np.stack(
        [nothing, nothing, peak, yy / root**2, xx / root**2, -xy / root**2, nothing + guess.beta], axis=1
    )
    free = 7 if free_beta else 6
    damping = np.full(x.size, 1e-2)
    for _ in range(_ROUNDS):
        model, slopes = _moffat(values, column, row)
        weight = good / (np.square(sky)[:, np.newaxis] + model + np.square(_PROFILE_ERROR * model))
        rest = data - model
        weighted = slopes[:, :free] * weight[:, np.newaxis]
        normal = weighted @ slopes[:, :free].swapaxes(1, 2)
        diagonal = np.diagonal(normal, axis1=1, axis2=2) + 1e-30
        damped = normal + (damping[:, np.newaxis] * diagonal)[:, :, np.newaxis] * np.eye(free)
        trial = values.copy()
        trial[:, :free] += (inverses(damped) @ (weighted @ rest[:, :, np.newaxis]))[:, :, 0]
        possible = _is_moffat(trial) & (np.hypot(trial[:, 0], trial[:, 1]) < radius / 2)
        trial[~possible] = values[~possible]
        after = data - _moffat(trial, column, row)[0]
        better = possible & ((weight * after**2).sum(axis=1) <= (weight * rest**2).sum(axis=1))
        values[better] = trial[better]
        damping = np.where(better, damping / 5, damping * 5).clip(1e-7, 1e7)
    inverse_xx, inverse_yy, inverse_xy = values[:, 3:6].T
    determinant = inverse_xx * inverse_yy - inverse_xy**2
    moments = np.stack([inverse_yy, inverse_xx, -inverse_xy]) / determinant
    core = np.hypot(column, row) <= max(1.5, middle.fwhm)
    snr = values[:, 2] / np.sqrt(inverses(normal)[:, 2, 2])
    usable = (good | ~core).all(axis=1) & (damping < 1e3) & (snr > 5)
    usable &= np.hypot(values[:, 0], values[:, 1]) < middle.fwhm
    return _Moffats(
        number=np.arange(x.size),
        x=x + values[:, 0],
        y=y + values[:, 1],
        flux=values[:, 2] * np.pi / (values[:, 6] - 1) / np.sqrt(determinant),
        moments=moments,
        beta=values[:, 6].copy(),
        weight=1 / (1 / np.square(np.maximum(snr, 1)) + _PROFILE_ERROR**2),
        good=usable,
    )


def _moffat(values: Values, column: Values, row: Values) -> tuple[Values, Values]:
    """Return Moffat profiles and their derivatives by x, y, peak, xx, yy, xy of the inverse radii, and beta."""
    x, y, peak, xx, yy, xy, beta = values.T[:, :, np.newaxis]
    dx, dy = column - x, row - y
    along_x, along_y = xx * dx + xy * dy, xy * dx + yy * dy
    spread = 1 + along_x * dx + along_y * dy
    logarithm = np.log(spread)
    shape = np.exp(-beta * logarithm)
    model = peak * shape
    slope = -beta * model / spread
    slopes = [-2 * slope * along_x, -2 * slope * along_y, shape]
    slopes += [slope * dx * dx, slope * dy * dy, 2 * slope * dx * dy, -model * logarithm]
    return model, np.stack(slopes, axis=1)


def _is_moffat(values: Values) -> NDArray[np.bool_]:
    _, _, peak, xx, yy, xy, beta = values.T
    positive = (peak > 0) & (xx > 0) & (yy > 0) & (xx * yy > xy**2)
    return np.asarray(positive & (beta > _BETA_RANGE[0]) & (beta < _BETA_RANGE[1]))


def _polynomials(stars: _Moffats, shape: tuple[int, int]) -> tuple[NDArray[np.bool_], Values]:
    """Return which stars are alike, and their moments as polynomials over the field.

    Of the orders that there are stars enough for, the one with the least Bayesian information criterion.
    """
    best = _clipped_polynomial(stars, shape, 1)
    for count in (3, 6):
        if best[0].sum() < _STARS_PER_TERM * count:
            break
        trial = _clipped_polynomial(stars, shape, count)
        if trial[2] < best[2]:
            best = trial
    return best[:2]


def _clipped_polynomial(
    stars: _Moffats, shape: tuple[int, int], count: int
) -> tuple[NDArray[np.bool_], Values, float]:
    """Fit moments with `count` terms, leaving out what differs; return those kept, the terms and the criterion."""
    terms = field_terms(shape, stars.x, stars.y, count)
    middle = np.median(stars.moments, axis=1, keepdims=True)
    typical = float(middle[:2].mean())
    spread = MAD_TO_SIGMA * np.median(np.abs(stars.moments - middle), axis=1, keepdims=True)
    near = np.abs(stars.moments - middle) < _CLIP * np.maximum(spread, _ALIKE * typical)
    kept: NDArray[np.bool_] = np.logical_and.reduce(near)
    if kept.sum() < count:
        kept = np.ones(stars.x.size, np.bool_)
    for _ in range(6):
        root = np.sqrt(stars.weight[kept])
        sides = (terms[:, kept] * root).T, (stars.moments[:, kept] * root).T
        moments = np.asarray(np.linalg.lstsq(*sides, rcond=None)[0].T, np.float64)
        distance = np.abs(stars.moments - moments @ terms) * np.sqrt(stars.weight / stars.weight.max())
        scatter = np.maximum(MAD_TO_SIGMA * np.median(distance[:, kept], axis=1), 1e-3 * typical)
        now: NDArray[np.bool_] = np.logical_and.reduce(distance < _CLIP * scatter[:, np.newaxis])
        if now.sum() < count + 1 or np.array_equal(now, kept):
            break
        kept = now
    criterion = kept.sum() * np.log(scatter**2).sum() + 3 * count * np.log(kept.sum())
    return kept, moments, float(criterion)


def _table(frame: Plane, mask: MaskPlane, sky: Values, psf: Psf, stars: _Moffats) -> Plane:
    """Return what the profile lacks: the mean of what remains of the stars, as far as it is significant."""
    radius = max(4.0, _RADIUS * psf.fwhm)
    fit = fit_sources(frame, mask, sky, psf, stars.x, stars.y, stars.flux, radius=radius, passes=1)
    discs = discs_at(psf.shape, fit.x, fit.y, radius)
    flux = fit.flux[:, np.newaxis]
    light = psf.profile(*discs.offsets(fit.x, fit.y), psf.moments_at(fit.x, fit.y)) * flux
    variance = np.square(sky)[:, np.newaxis] + np.maximum(light, 0)
    good = discs.inside & (mask.reshape(-1)[discs.index] == 0) & (flux > 0)
    rest = frame.reshape(-1)[discs.index]
    fit.put_back(frame, psf)
    half = int(radius / TABLE_STEP) + 1
    column, row = (
        np.rint(offset / TABLE_STEP).astype(np.intp).clip(-half, half) + half
        for offset in discs.offsets(fit.x, fit.y)
    )
    cell, side = (row * (2 * half + 1) + column)[good], 2 * half + 1
    weight = np.bincount(cell, (flux**2 / variance)[good], side * side)
    mean = np.bincount(cell, (rest * flux / variance)[good], side * side) / np.maximum(weight, 1e-30)
    seen = weight > 0
    error = np.where(seen, 1 / np.maximum(weight, 1e-30), 0)
    excess = float(np.mean((mean**2 - error)[seen]))
    chance = float(np.sqrt(2 * np.mean(error[seen] ** 2) / seen.sum()))
    if excess < 5 * chance:
        return np.zeros((0, 0), np.float32)
    table = np.where(seen, mean * excess / (excess + error), 0).reshape(side, side)
    table[[0, -1]] = table[:, [0, -1]] = 0
    return table.astype(np.float32)


def _weighted_median(values: Values, weight: Values) -> float:
    order = np.argsort(values)
    half = np.searchsorted(np.cumsum(weight[order]), weight.sum() / 2)
    return float(values[order[half]])
