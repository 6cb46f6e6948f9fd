"""What has changed on the sky: everything that stands out of a difference image, and what is wrong with it.

Both signs are searched: what has brightened and what has faded. The difference is divided by its own noise,
pixel by pixel, because that of a difference is largest where the stars were; then a matched filter finds, and the
point-spread function measures (Zackay, Ofek & Gal-Yam 2016, ApJ 830, 27, on why this is the right statistic).
What looks like an artefact is flagged and stays in the table: a person can look at it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.table import QTable
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from toros.errors import BadParameters, NotFinite, WrongGeometry
from toros.science.difference_peaks import find_peaks
from toros.science.flags import PixelFlag, is_flagged
from toros.science.image import Image
from toros.science.psf import Psf, light_in
from toros.science.psf_fit import fit_sources_apart
from toros.science.shapes import Shapes, measure_shapes
from toros.science.stamps import Stamps, stamps_at
from toros.science.trails import find_trails

Plane = NDArray[np.float32]
Values = NDArray[np.float64]
Flags = NDArray[np.int32]

MOST_CANDIDATES = 5000
"""Of one difference; with more the subtraction has failed, and the most significant ones tell so."""

_CORE = 1.6
"""Flags of pixels within so many FWHM of a candidate are its flags."""

_NEAR = 3.0
"""A saturated pixel within so many FWHM spoils a candidate."""

_DIPOLE = 1.75
_BALANCE = 0.5
"""Two candidates of opposite signs within so many FWHM are a dipole, if less than this part of their light remains."""

_CONCENTRATED = 1.6
"""So many times the light of the fitted profile in the central pixel are those of a cosmic ray."""

_STREAK = 0.6
_STREAK_FWHM = 1.3
"""Ellipticity, and width relative to the stars, from which on a single candidate is a streak."""

_KNOWN = 1.0
"""A known variable is within so many FWHM."""


class CandidateFlag(enum.IntFlag):
    """What speaks against a candidate, or explains it. A bit never changes its meaning."""

    EDGE = 1
    """The edge of the frame cuts it."""

    BAD_PIXELS = 2
    """There are hot, dead or noisy pixels in it, or some without data."""

    COSMIC_RAY = 4
    """A cosmic ray was found there, or it is sharper than the optics allow."""

    NEAR_SATURATED = 8
    """There are saturated pixels around it: the difference is not to be trusted."""

    DIPOLE = 16
    """A candidate of the opposite sign and like flux lies beside it: a star that was not aligned."""

    TRAIL = 32
    """It is a streak, or several detections in a line that were joined into one."""

    ON_KNOWN_VARIABLE = 64
    """A star is there that is known to vary."""


_FLAG_OF_PIXEL = {
    PixelFlag.HOT | PixelFlag.DEAD | PixelFlag.NOISY | PixelFlag.NO_DATA: CandidateFlag.BAD_PIXELS,
    PixelFlag.COSMIC_RAY: CandidateFlag.COSMIC_RAY,
}


@dataclass(frozen=True, eq=False)
class _Found:
    """Peaks of both signs, and how many of them each stands for."""

    x: Values
    y: Values
    snr: Values
    sign: Values
    members: NDArray[np.intp]


def find_candidates(
    difference: Image, psf: Psf, *, threshold: float = 5.0, known: Values | None = None
) -> QTable:
    """Find and measure all that has changed.

    Parameters
    ----------
    difference : Image
        Science minus reference, electron on the scale of the science frame.
    psf : Psf
        Of a point source in the difference.
    threshold : float
        Least signal-to-noise ratio of a detection.
    known : ndarray of float64, shape (m, 2), optional
        Places x, y (0-based px) of stars that are known to vary.

    Returns
    -------
    QTable
        The most significant first, `MOST_CANDIDATES` at most: x, y, x_err, y_err (0-based px); flux, flux_err
        (electron, of the fitted profile; negative if it has faded); snr (positive); sign (1 or -1); chi2 of the fit,
        per degree of freedom; fwhm (px), ellipticity, angle (of the major axis from +x towards +y, deg), not
        numbers where there is no shape; concentration (light of the brightest pixel over that of the
        fitted profile); members (detections joined); flags (`CandidateFlag`).

    Raises
    ------
    BadParameters, NotFinite, WrongGeometry
        If the threshold makes no sense, values are not finite, or the point-spread function is of another frame.
    """
    if psf.shape != difference.shape:
        raise WrongGeometry(
            f"a point-spread function of {psf.shape} pixels, a difference of {difference.shape}"
        )
    if not threshold > 0:
        raise BadParameters(f"a threshold of {threshold} sigma finds everything")
    if not np.isfinite(difference.data.sum()):
        raise NotFinite("the difference holds values that are not numbers")
    return _Candidates(difference, psf, _find(difference, psf.fwhm, threshold)).table(known)


def _find(difference: Image, fwhm: float, threshold: float) -> _Found:
    """Return the most significant peaks, of each trail one."""
    x, y, snr = find_peaks(difference, fwhm, threshold)
    order = np.argsort(-np.abs(snr), kind="stable")[:MOST_CANDIDATES]
    x, y, snr = x[order], y[order], snr[order]
    trail = find_trails(difference, x, y, np.sign(snr), fwhm)
    members = np.ones(x.size, np.intp)
    kept = trail < 0
    for number in np.unique(trail[~kept]):
        of_it = np.flatnonzero(trail == number)
        kept[of_it[0]], members[of_it[0]] = True, of_it.size
    return _Found(x[kept], y[kept], np.abs(snr)[kept], np.sign(snr)[kept], members[kept])


class _Candidates:
    """The candidates of a difference while they are being measured."""

    def __init__(self, difference: Image, psf: Psf, found: _Found) -> None:
        self.difference, self.psf, self.found, self.fwhm = difference, psf, found, psf.fwhm
        self.sky_noise = self._sky_noise()
        self.columns = self._fitted()
        self.x, self.y = self.columns["x"], self.columns["y"]

    def table(self, known: Values | None) -> QTable:
        """Return all columns, the most significant candidate first."""
        stamps = stamps_at(self.difference.shape, self.x, self.y, int(np.ceil(_NEAR * self.fwhm)))
        values = stamps.cut(self.difference.data)
        values[~stamps.inside | (stamps.cut(self.difference.mask) != 0)] = 0
        values *= self.found.sign.astype(np.float32)[:, np.newaxis, np.newaxis]
        shapes, scale = self._shapes(values, stamps)
        concentration, excess = self._concentration(values)
        snr = np.abs(self.columns["flux"]) / self.columns["flux_err"]
        fwhm = shapes.fwhm * scale
        flags = self._flags_of_pixels(stamps)
        sharp = (concentration > _CONCENTRATED) & (excess > 3)
        flags |= sharp * np.int32(CandidateFlag.COSMIC_RAY)
        flags |= self._dipoles() * np.int32(CandidateFlag.DIPOLE)
        streak = ~sharp & (shapes.ellipticity > _STREAK) & (fwhm > _STREAK_FWHM * self.fwhm)
        flags |= (streak | (self.found.members > 1)) * np.int32(CandidateFlag.TRAIL)
        if known is not None and len(known):
            distance, _ = cKDTree(known).query(np.column_stack([self.x, self.y]))
            flags |= (distance < _KNOWN * self.fwhm) * np.int32(CandidateFlag.ON_KNOWN_VARIABLE)
        columns = {
            "x": self.x * u.pix,
            "y": self.y * u.pix,
            "x_err": self.columns["x_err"] * u.pix,
            "y_err": self.columns["y_err"] * u.pix,
            "flux": self.columns["flux"] * u.electron,
            "flux_err": self.columns["flux_err"] * u.electron,
            "snr": snr,
            "sign": self.found.sign.astype(np.int8),
            "chi2": self.columns["chi2"],
            "fwhm": fwhm * u.pix,
            "ellipticity": shapes.ellipticity,
            "angle": shapes.angle * u.deg,
            "concentration": concentration,
            "members": self.found.members,
            "flags": flags,
        }
        order = np.argsort(-snr, kind="stable")
        return QTable({name: column[order] for name, column in columns.items()})

    def _sky_noise(self) -> Values:
        """Return the noise of a pixel under each candidate, without that of its own light."""
        found = self.found
        stamps = stamps_at(self.difference.shape, found.x, found.y, max(2, int(np.ceil(self.fwhm))))
        variance = stamps.cut(self.difference.variance).astype(np.float64)
        usable = stamps.inside & (stamps.cut(self.difference.mask) == 0)
        profile = light_in(stamps, self.psf, found.x, found.y, np.ones(found.x.size)).astype(np.float64)
        weight = np.square(profile) * usable
        total = np.maximum(weight.sum(axis=(1, 2)), 1e-30)
        values = stamps.cut(self.difference.data) * found.sign[:, np.newaxis, np.newaxis]
        flux = (values * profile * usable).sum(axis=(1, 2)) / total
        own = np.maximum(flux, 0)[:, np.newaxis, np.newaxis] * profile  # a photon has the variance of one
        rest = ((variance - own) * weight).sum(axis=(1, 2)) / total
        least = np.where(stamps.inside, variance, np.inf).min(axis=(1, 2))
        return np.asarray(np.sqrt(np.maximum(np.maximum(rest, least), 1e-12)))

    def _fitted(self) -> dict[str, Values]:
        """Fit the candidates of each sign as if their light were positive."""
        columns = {
            name: np.zeros(self.found.x.size)
            for name in ("x", "y", "x_err", "y_err", "flux", "flux_err", "chi2")
        }
        for sign in (1, -1):
            here = np.flatnonzero(self.found.sign == sign)
            noise = self.sky_noise[here]
            start = self.found.snr[here] * noise * self.psf.noise_area**0.5
            fit = fit_sources_apart(
                self.difference.data,
                self.difference.mask,
                noise,
                self.psf,
                self.found.x[here],
                self.found.y[here],
                start,
                sign=sign,
                passes=1,
            )
            for name, column in columns.items():
                column[here] = getattr(fit, name)
            columns["flux"][here] *= sign
        return columns

    def _shapes(self, values: Plane, stamps: Stamps) -> tuple[Shapes, float]:
        """Return the shapes, and what makes the width of a star that of the point-spread function."""
        shapes = measure_shapes(values, stamps.dx, stamps.dy, self.fwhm)
        height, width = self.difference.shape
        middle = np.array([width // 2]), np.array([height // 2])
        stamp = stamps_at(self.difference.shape, *middle, stamps.dx.shape[1] // 2)
        star = light_in(stamp, self.psf, *middle, np.ones(1))
        own = measure_shapes(star, stamp.dx, stamp.dy, self.fwhm).fwhm
        return shapes, float(self.fwhm / own[0])

    def _concentration(self, values: Plane) -> tuple[Values, Values]:
        """Return the light of the brightest pixel over that of the model, and the excess in units of its noise.

        The brightest of the nine in the middle: a fit to something that is no star may end beside it.
        """
        middle = slice(values.shape[1] // 2 - 1, values.shape[1] // 2 + 2)
        nine = stamps_at(self.difference.shape, self.x, self.y, 1)
        light = light_in(nine, self.psf, self.x, self.y, np.abs(self.columns["flux"]))
        here = values[:, middle, middle].reshape(-1, 9).astype(np.float64)
        model = light.reshape(-1, 9).astype(np.float64)
        brightest = np.arange(len(here)), here.argmax(axis=1)
        here, model = here[brightest], np.maximum(model[brightest], 0)
        noise = np.sqrt(np.square(self.sky_noise) + model)
        return here / np.maximum(model, 0.1 * noise), (here - model) / noise

    def _flags_of_pixels(self, stamps: Stamps) -> Flags:
        distance = np.hypot(stamps.dx[:, np.newaxis], stamps.dy[:, :, np.newaxis])
        core, masked = distance <= _CORE * self.fwhm, stamps.cut(self.difference.mask)
        flags = (core & ~stamps.inside).any(axis=(1, 2)) * np.int32(CandidateFlag.EDGE)
        core &= stamps.inside
        for pixel, flag in _FLAG_OF_PIXEL.items():
            flags |= (core & is_flagged(masked, pixel)).any(axis=(1, 2)) * np.int32(flag)
        near = (distance <= _NEAR * self.fwhm) & is_flagged(masked, PixelFlag.SATURATED)
        flags |= near.any(axis=(1, 2)) * np.int32(CandidateFlag.NEAR_SATURATED)
        return np.asarray(flags, np.int32)

    def _dipoles(self) -> NDArray[np.bool_]:
        """Tell which candidates have a counterpart of the opposite sign and like flux."""
        dipole, flux = np.zeros(self.x.size, np.bool_), self.columns["flux"]
        pairs = cKDTree(np.column_stack([self.x, self.y])).query_pairs(
            _DIPOLE * self.fwhm, output_type="ndarray"
        )
        if len(pairs):
            one, other = pairs.T
            remaining = np.abs(flux[one] + flux[other])
            balanced = (self.found.sign[one] != self.found.sign[other]) & (
                remaining < _BALANCE * (np.abs(flux[one]) + np.abs(flux[other]))
            )
            dipole[pairs[balanced].ravel()] = True
        return dipole
