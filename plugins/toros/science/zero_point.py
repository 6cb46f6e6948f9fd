"""The zero point of a frame: its stars against those of a catalogue, with the colour term of the filter.

For a star of catalogue magnitude m and colour c that gives f electrons in t seconds::

    m = zero point - 2.5 log10(f / t) + colour term * (c - reference colour)

Stars scatter about this by more than the photon noise: flat fields, blends, variables, errors of the catalogue.
That scatter is estimated together with the fit, so that the error of the zero point is honest, and
what is far off is left out. The weights and the scatter are those of the maximum of the likelihood (Hogg,
Bovy & Lang 2010, arXiv:1008.4686, section 7, with clipping in the place of a mixture).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from toros.errors import BadParameters, TooFewStars
from toros.science.magnitudes import POGSON
from toros.science.noise import MAD_TO_SIGMA

Values = NDArray[np.float64]

_COLOUR_SPREAD = 0.1
"""Magnitudes (standard deviation) over which colours must spread for a colour term."""
_LEAST_ERROR = 1e-4
_TRUSTED = 0.002
"""Magnitudes added to every error while the fit begins, so that no star alone decides."""
_ROUNDS = 30


@dataclass(frozen=True)
class ZeroPoint:
    """The magnitude of one electron per second, and how well it is known.

    Parameters
    ----------
    value : float
        Magnitude of a star of the reference colour that gives one electron per second.
    error : float
        Standard error of `value`, the scatter of the stars included; errors that all stars of the catalogue
        share are not.
    colour_term, colour_term_error : float or None
        Magnitudes per magnitude of colour; None where it was not fitted.
    reference_colour : float or None
        Colour for which `value` holds: the one asked for, or without a colour term the median of the stars, if known.
    n_stars : int
        Stars that were used, without those clipped.
    n_clipped : int
        Stars that were too far off.
    scatter : float
        Magnitudes by which one bright star is off, beyond its own errors.
    trend : (float, float) or None
        Change of the zero point from the left edge to the right one and from the first row to the last (mag): what
        the flat field or a cloud left. It is measured, not corrected.
    trend_error : float
        Standard error of either.
    transparency : float or None
        Share of the light that came through, if the nominal zero point is known.
    """

    value: float
    error: float
    colour_term: float | None
    colour_term_error: float | None
    reference_colour: float | None
    n_stars: int
    n_clipped: int
    scatter: float
    trend: tuple[float, float] | None = None
    trend_error: float = 0.0
    transparency: float | None = None

    def magnitude(self, flux: ArrayLike, exptime: float, colour: ArrayLike | None = None) -> Values:
        """Return magnitudes of fluxes (electrons in the exposure); NaN where a flux is not positive.

        A star whose colour is not given is taken for one of the reference colour. The limiting magnitude is that of
        the limiting flux.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Values = self.value - 2.5 * np.log10(
                np.where(np.asarray(flux) > 0, flux, np.nan) / exptime
            )
        if colour is None or self.colour_term is None or self.reference_colour is None:
            return found
        reddening = np.nan_to_num(np.asarray(colour, np.float64) - self.reference_colour)
        return found + self.colour_term * reddening


def measure_zero_point(
    flux: ArrayLike,
    flux_err: ArrayLike,
    exptime: float,
    catalogue_mag: ArrayLike,
    catalogue_err: ArrayLike | None = None,
    colour: ArrayLike | None = None,
    *,
    reference_colour: float = 0.0,
    position: tuple[ArrayLike, ArrayLike] | None = None,
    shape: tuple[int, int] | None = None,
    nominal: float | None = None,
    least_snr: float = 10.0,
    clip_sigma: float = 3.5,
    fewest: int = 3,
    colour_stars: int = 20,
) -> ZeroPoint:
    """Measure the zero point of a frame from stars that are in a catalogue.

    Parameters
    ----------
    flux, flux_err : array_like
        Electrons in the exposure, shape (n,). Stars that are saturated, blended or cut off should not be among them.
    exptime : float
        Seconds.
    catalogue_mag, catalogue_err : array_like
        Magnitudes in the band that is wanted, and their errors; an unknown one (NaN) is left to the scatter.
    colour : array_like, optional
        Colours of the stars in the catalogue (mag). Without them, or with too few, no colour term is fitted.
    reference_colour : float
        Colour for which the zero point is to hold.
    position : (array_like, array_like), optional
        x and y of the stars (px), for the trend over the field; with `shape`, rows and columns of the frame.
    nominal : float, optional
        Zero point of a clear night, for the transparency.
    least_snr : float
        Stars are used whose signal-to-noise ratio should be at least this, as their catalogue magnitude tells:
        a choice by the measured flux would prefer those measured too bright.
    clip_sigma : float
        Stars further off than so many standard deviations are left out.
    fewest : int
        Stars needed.
    colour_stars : int
        Stars needed for a colour term, and for a trend.

    Returns
    -------
    ZeroPoint

    Raises
    ------
    TooFewStars
        Fewer than `fewest` stars can be used.
    BadParameters
        The exposure time is not positive, or lengths differ.
    """
    if not exptime > 0:
        raise BadParameters(f"no zero point of an exposure of {exptime} s")
    stars = _Stars.of(flux, flux_err, exptime, catalogue_mag, catalogue_err, colour, position)
    usable = stars.taken(stars.bright(least_snr))
    _require(usable, fewest, least_snr)
    usable, colours = _with_colours(usable, reference_colour, colour_stars)
    design = (
        np.stack([np.ones(usable.size), colours], axis=1)
        if colours is not None
        else np.ones((usable.size, 1))
    )
    fit = _fit(design, usable.offset, usable.error, clip_sigma)
    if fit.kept.sum() < fewest:
        raise TooFewStars(f"of {usable.size} stars only {fit.kept.sum()} agree on a zero point")
    trend, trend_error = _trend(usable, fit, shape, colour_stars)
    value, error = float(fit.solution[0]), float(np.sqrt(fit.covariance[0, 0]))
    has_colour = colours is not None
    return ZeroPoint(
        value=value,
        error=error,
        colour_term=float(fit.solution[1]) if has_colour else None,
        colour_term_error=float(np.sqrt(fit.covariance[1, 1])) if has_colour else None,
        reference_colour=reference_colour if has_colour else usable.typical_colour(fit.kept),
        n_stars=int(fit.kept.sum()),
        n_clipped=int(np.count_nonzero(~fit.kept)),
        scatter=fit.scatter,
        trend=trend,
        trend_error=trend_error,
        transparency=None if nominal is None else float(10 ** (0.4 * (value - nominal))),
    )


@dataclass(frozen=True, eq=False)
class _Stars:
    """What is known of each star."""

    offset: Values
    """Catalogue magnitude minus instrumental magnitude."""
    error: Values
    flux_err: Values
    catalogue_rate: Values
    """Flux that the catalogue magnitude stands for, electrons but for the zero point."""
    colour: Values
    x: Values
    y: Values

    @classmethod
    def of(
        cls,
        flux: ArrayLike,
        flux_err: ArrayLike,
        exptime: float,
        mag: ArrayLike,
        mag_err: ArrayLike | None,
        colour: ArrayLike | None,
        position: tuple[ArrayLike, ArrayLike] | None,
    ) -> _Stars:
        electrons, noise, m = (np.asarray(a, np.float64) for a in (flux, flux_err, mag))
        unknown = np.full(electrons.shape, np.nan)
        x, y = (unknown, unknown) if position is None else (np.asarray(p, np.float64) for p in position)
        c = unknown if colour is None else np.asarray(colour, np.float64)
        m_err = (
            np.zeros(electrons.shape) if mag_err is None else np.nan_to_num(np.asarray(mag_err, np.float64))
        )
        if len({a.shape for a in (electrons, noise, m, m_err, c, x, y)}) != 1 or electrons.ndim != 1:
            raise BadParameters("the stars of a zero point must have as many fluxes as magnitudes")
        with np.errstate(invalid="ignore", divide="ignore"):
            good = (electrons > 0) & (noise > 0) & np.isfinite(electrons + noise + m)
            offset = np.where(good, m + 2.5 * np.log10(np.abs(electrons) / exptime), np.nan)
            error = np.hypot(POGSON * noise / electrons, m_err)
        return cls(offset, error, noise, exptime * 10 ** (-0.4 * m), c, x, y).taken(good)

    @property
    def size(self) -> int:
        return self.offset.size

    def taken(self, which: NDArray[Any]) -> _Stars:
        return _Stars(*(getattr(self, name)[which] for name in self.__dataclass_fields__))

    def typical_colour(self, which: NDArray[np.bool_]) -> float | None:
        """Return the median colour of some stars; None where none is known."""
        known = self.colour[which & np.isfinite(self.colour)]
        return float(np.median(known)) if known.size else None

    def bright(self, least_snr: float) -> NDArray[np.bool_]:
        """Return which stars should reach a signal-to-noise ratio, going by their catalogue magnitudes."""
        if not self.size:
            return np.zeros(0, np.bool_)
        measured = POGSON / self.error >= least_snr
        rough = np.median(self.offset[measured] if measured.any() else self.offset)
        expected = self.catalogue_rate * 10 ** (0.4 * rough)
        bright: NDArray[np.bool_] = expected >= least_snr * self.flux_err
        return bright


@dataclass(frozen=True, eq=False)
class _Fit:
    solution: Values
    covariance: Values
    kept: NDArray[np.bool_]
    scatter: float
    residual: Values


def _require(stars: _Stars, fewest: int, least_snr: float) -> None:
    if stars.size < fewest:
        raise TooFewStars(
            f"{stars.size} stars of the catalogue were measured with S/N {least_snr:g} or better; "
            f"a zero point needs {fewest}"
        )


def _with_colours(stars: _Stars, reference: float, fewest: int) -> tuple[_Stars, Values | None]:
    """Return the stars to fit and their colours, or all stars and no colours where no colour term can be had."""
    known = np.isfinite(stars.colour)
    if known.sum() < fewest or MAD_TO_SIGMA * _mad(stars.colour[known]) < _COLOUR_SPREAD:
        return stars, None
    coloured = stars.taken(known)
    return coloured, coloured.colour - reference


def _fit(design: Values, offset: Values, error: Values, clip_sigma: float) -> _Fit:
    """Fit with clipping: from a fit of least absolute deviations on, until the same stars are kept twice."""
    error = np.maximum(error, _LEAST_ERROR)
    residual = offset - design @ _least_absolute(design, offset, error)
    scatter = float(MAD_TO_SIGMA * _mad(residual / error * np.median(error)))
    kept = np.zeros(offset.size, np.bool_)
    for _ in range(_ROUNDS):
        near = np.abs(residual) <= clip_sigma * np.hypot(error, scatter)
        if not near.any() or np.array_equal(near, kept):
            break
        kept = near
        scatter, solution, covariance = _most_likely(design[kept], offset[kept], error[kept])
        residual = offset - design @ solution
    return _Fit(solution, covariance, kept, scatter, residual)


def _least_absolute(design: Values, offset: Values, error: Values) -> Values:
    """Fit by least absolute deviations, with iterated weights: no single star draws the line to itself."""
    base = 1 / np.hypot(error, _TRUSTED)
    solution = np.zeros(design.shape[1])
    solution[0] = np.median(offset)
    for _ in range(_ROUNDS):
        weight = np.sqrt(base / np.maximum(np.abs(offset - design @ solution), _TRUSTED))
        before, (solution, _, _) = solution, _weighted(design, offset, 1 / weight)
        if np.allclose(before, solution, rtol=0, atol=_LEAST_ERROR):
            break
    return solution


def _most_likely(design: Values, offset: Values, error: Values) -> tuple[float, Values, Values]:
    """Return the scatter for which chi^2 is as large as the degrees of freedom, the solution and its covariance."""
    freedom = offset.size - design.shape[1]
    low, high = 0.0, float(np.ptp(offset)) + _LEAST_ERROR
    solution, covariance, chi2 = _weighted(design, offset, error)
    if freedom <= 0 or chi2 <= freedom:
        return 0.0, solution, covariance
    while high - low > _LEAST_ERROR:
        middle = (low + high) / 2
        solution, covariance, chi2 = _weighted(design, offset, np.hypot(error, middle))
        low, high = (middle, high) if chi2 > freedom else (low, middle)
    # Of a scatter known from few stars, as for Student's t.
    return high, solution, covariance * (freedom / (freedom - 2) if freedom > 2 else 3.0)


def _weighted(design: Values, offset: Values, error: Values) -> tuple[Values, Values, float]:
    scaled = design / error[:, np.newaxis]
    covariance = np.asarray(np.linalg.pinv(scaled.T @ scaled), np.float64)
    solution = covariance @ (scaled.T @ (offset / error))
    return solution, covariance, float(np.sum(((offset - design @ solution) / error) ** 2))


def _trend(
    stars: _Stars, fit: _Fit, shape: tuple[int, int] | None, fewest: int
) -> tuple[tuple[float, float] | None, float]:
    """Fit a plane to what the zero point left, in frame widths and heights."""
    kept = fit.kept & np.isfinite(stars.x + stars.y)
    if shape is None or kept.sum() < fewest:
        return None, 0.0
    across, along = stars.x[kept] / shape[1] - 0.5, stars.y[kept] / shape[0] - 0.5
    design = np.stack([np.ones(across.size), across, along], axis=1)
    error = np.hypot(np.maximum(stars.error[kept], _LEAST_ERROR), fit.scatter)
    solution, covariance, _ = _weighted(design, fit.residual[kept], error)
    return (float(solution[1]), float(solution[2])), float(np.sqrt(max(covariance[1, 1], covariance[2, 2])))


def _mad(values: Values) -> float:
    return float(np.median(np.abs(values - np.median(values))))
