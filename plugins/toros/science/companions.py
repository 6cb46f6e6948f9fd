"""Companions hidden in the image of a brighter source: seen only once that source is taken away."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from toros.science.flags import MaskPlane
from toros.science.psf import Psf, light_in
from toros.science.psf_fit import PsfFit, fit_sources
from toros.science.stamps import stamps_at

Plane = NDArray[np.float32]
Values = NDArray[np.float64]

_SUSPECT = 5.0
"""Sources whose chi^2 is so many standard deviations too large are looked at."""

_PROFILE_ERROR = 0.03
"""Relative error of the profile, which leaves traces where a bright star is taken away."""

_REACH = 2.0
"""Companions are looked for within so many FWHM; beyond, they are peaks of their own."""

_BETTER = 0.5
"""A companion is believed if the excess of chi^2 falls to this part of what it was."""


def find_companions(
    frame: Plane, mask: MaskPlane, psf: Psf, fit: PsfFit, threshold: float
) -> tuple[Values, Values, Values]:
    """Find close companions of sources that are badly fitted as single stars.

    Parameters
    ----------
    frame : ndarray of float32, shape (ny, nx), contiguous
        From which the sources that were fitted are taken out, electron.
    mask : ndarray of uint8
        Bits of `PixelFlag`.
    psf : Psf
        Of the frame.
    fit : PsfFit
        Of all sources.
    threshold : float
        Least signal-to-noise ratio.

    Returns
    -------
    x, y, flux : ndarray of float64
        One companion at most for each source, and only those that explain what was wrong with the fit:
        a galaxy, or a star with a bad pixel, stays one source.
    """
    freedom = 2 * np.pi * (1.5 * psf.fwhm) ** 2
    suspect = (
        (fit.chi2 > 1.2) & (fit.chi2 > 1 + _SUSPECT * np.sqrt(4 / freedom)) & (fit.flux > 10 * fit.flux_err)
    )
    parents = np.flatnonzero(suspect)
    if not parents.size:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    x, y, flux, snr = _brightest_rest(frame, mask, psf, fit, parents)
    seen = snr > threshold
    parents, x, y, flux = parents[seen], x[seen], y[seen], flux[seen]
    believed = _explains(frame, mask, psf, fit, parents, (x, y, flux), threshold)
    return x[believed], y[believed], flux[believed]


def _brightest_rest(
    frame: Plane, mask: MaskPlane, psf: Psf, fit: PsfFit, parents: NDArray[np.intp]
) -> tuple[Values, Values, Values, Values]:
    """Return the most significant point source that remains near each parent: x, y, flux and S/N."""
    inner, outer = int(np.ceil(1.2 * psf.fwhm)), int(np.ceil(_REACH * psf.fwhm))
    x, y = fit.x[parents], fit.y[parents]
    stamps = stamps_at(frame.shape, x, y, inner + outer)
    rest = stamps.cut(frame)
    model = light_in(stamps, psf, x, y, fit.flux[parents])
    variance = (
        np.square(fit.sky_noise[parents])[:, np.newaxis, np.newaxis]
        + model
        + np.square(_PROFILE_ERROR * model)
    )
    weight = (stamps.inside & (stamps.cut(mask) == 0)) / variance
    row, column = np.mgrid[-inner : inner + 1, -inner : inner + 1].astype(np.float32)
    profile = psf.profile(column.reshape(1, -1), row.reshape(1, -1), psf.moments[:, :1]).reshape(row.shape)
    light, power = (
        np.einsum("nyxij,ij->nyx", sliding_window_view(values, row.shape, axis=(1, 2)), kernel)
        for values, kernel in ((rest * weight, profile), (weight, profile**2))
    )
    flux = light / np.maximum(power, 1e-30)
    dx, dy = stamps.dx[:, np.newaxis, inner:-inner], stamps.dy[:, inner:-inner, np.newaxis]
    near = np.hypot(dx, dy) < _REACH * psf.fwhm
    snr = np.where(near, light / np.sqrt(np.maximum(power, 1e-30)), -np.inf).reshape(parents.size, -1)
    best, every = snr.argmax(axis=1), np.arange(parents.size)
    down, right = np.divmod(best, dx.shape[2])
    return (
        fit.x[parents] + dx[every, 0, right],
        fit.y[parents] + dy[every, down, 0],
        flux.reshape(parents.size, -1)[every, best].astype(float),
        snr[every, best].astype(float),
    )


def _explains(
    frame: Plane,
    mask: MaskPlane,
    psf: Psf,
    fit: PsfFit,
    parents: NDArray[np.intp],
    companions: tuple[Values, Values, Values],
    threshold: float,
) -> NDArray[np.bool_]:
    """Fit parents together with their companions, and tell which fits become good by it."""
    if not parents.size:
        return np.zeros(0, np.bool_)
    fit.put_back(frame, psf, parents)
    alone = fit.x[parents], fit.y[parents], fit.flux[parents]
    start = (np.concatenate(pair) for pair in zip(alone, companions, strict=True))
    together = fit_sources(frame, mask, np.tile(fit.sky_noise[parents], 2), psf, *start, passes=1)
    together.put_back(frame, psf)
    fit.take_out(frame, psf, parents)
    parent, companion = np.split(np.arange(2 * parents.size), 2)
    allowed = 1 + _BETTER * (fit.chi2[parents] - 1)
    significant = together.flux[companion] > threshold * together.flux_err[companion]
    apart = (
        np.hypot(together.x[parent] - together.x[companion], together.y[parent] - together.y[companion])
        > 0.5 * psf.fwhm
    )
    good = (together.chi2[parent] < allowed) & (together.chi2[companion] < allowed)
    return np.asarray(good & significant & apart & (together.flux[parent] > 0))
