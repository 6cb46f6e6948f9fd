"""Light curves: sources of many frames become objects, and an ensemble of them tells how clear each frame was.

Differential photometry with an inhomogeneous ensemble (Honeycutt 1992, PASP 104, 435): magnitudes are the sum
of a mean of the star and an offset of the frame, solved for together; each star has the weight that its
own scatter deserves (Broeg et al. 2005, AN 326, 134), and stars that vary are left out. The residual of a star
is taken against the ensemble without it, so that no star is measured against itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from toros.errors import TooFewFrames, TooFewStars
from toros.science.healpix import positions_of, unit_vectors
from toros.science.magnitudes import POGSON
from toros.science.noise import MAD_TO_SIGMA

Values = NDArray[np.float64]
Numbers = NDArray[np.intp]

_ARCSEC = np.radians(1 / 3600)
_LEAST_SCATTER = 5e-4
"""Magnitudes: no star is trusted to be steadier than this."""
_CLIP_SIGMA = 4.0
_ROUNDS = 25
_CONVERGED = 1e-6


@dataclass(frozen=True, eq=False)
class Ensemble:
    """The comparison stars of a set of frames, and what they say about each frame.

    Parameters
    ----------
    offset, error : ndarray
        Shape (n_frames,): magnitudes to subtract from what was measured in a frame, and their standard errors;
        NaN where no comparison star was seen. The median offset is zero.
    n_stars : ndarray of int
        Comparison stars seen in each frame.
    is_comparison : ndarray of bool
        Shape (n_objects,).
    magnitude, scatter : ndarray
        Shape (n_objects,): mean magnitude of each object, and the robust scatter of its differential magnitudes; NaN
        for an object that was seen in less than two frames.
    excess : float
        Magnitudes by which a typical comparison star scatters beyond its photon noise.
    """

    offset: Values
    error: Values
    n_stars: Numbers
    is_comparison: NDArray[np.bool_]
    magnitude: Values
    scatter: Values
    excess: float


@dataclass(frozen=True, eq=False)
class LightCurve:
    """The differential magnitudes of one object.

    Parameters
    ----------
    ra, dec : float
        Mean position, degrees.
    magnitude : float
        Median magnitude.
    scatter : float
        Robust scatter (mag).
    points : Table
        One row for each frame where the object was seen, in the order of the frames: frame, mag, mag_err,
        flux, flux_err (relative to the median), offset, offset_err (of the frame, mag), n_comparison, flagged.
        The errors hold photon noise, the error of the ensemble, and the excess scatter of the comparison stars.
    comparison : Table
        The comparison stars: ra, dec (deg), mag, scatter (mag), n_frames.
    """

    ra: float
    dec: float
    magnitude: float
    scatter: float
    points: Table
    comparison: Table


def associate(frame: ArrayLike, ra: ArrayLike, dec: ArrayLike, radius: float) -> Numbers:
    """Find out which sources of many frames are the same object.

    Frame after frame, beginning with the richest one, sources are matched with the mean positions of the objects known
    so far; those that match none are new objects. An object has at most one source in a frame, the nearest.

    Parameters
    ----------
    frame : array_like of int
        Number of the frame of each source, shape (n,).
    ra, dec : array_like
        Degrees.
    radius : float
        Arcsec; about half the width of a star.

    Returns
    -------
    ndarray of int
        Number of the object of each source.
    """
    frame, vectors = np.asarray(frame), unit_vectors(ra, dec)
    objects = np.full(frame.shape, -1, np.intp)
    sums = np.empty((0, 3))
    for rows in _rows_of_frames(frame):
        found = np.full(rows.size, -1, np.intp)
        if len(sums):
            means = sums / np.linalg.norm(sums, axis=1)[:, np.newaxis]
            found = _nearest_of_each(means, vectors[rows], radius * _ARCSEC)
        is_new = found < 0
        found[is_new] = len(sums) + np.arange(is_new.sum())
        sums = np.concatenate([sums, np.zeros((is_new.sum(), 3))])
        sums[found] += vectors[rows]  # no object twice
        objects[rows] = found
    return objects


def fit_ensemble(
    magnitudes: Values,
    errors: Values,
    candidates: NDArray[np.bool_],
    *,
    variable_sigma: float = 4.0,
    fewest: int = 2,
) -> Ensemble:
    """Fit the offsets of frames with an ensemble of comparison stars.

    Parameters
    ----------
    magnitudes, errors : ndarray
        Shape (n_frames, n_objects), mag; NaN where an object was not seen or must not be used.
    candidates : ndarray of bool
        Objects that may be comparison stars.
    variable_sigma : float
        A star is left out if it scatters more than others of its photon noise by so many standard deviations
        of that ratio.
    fewest : int
        Comparison stars needed.

    Returns
    -------
    Ensemble

    Raises
    ------
    TooFewStars
    """
    chosen = np.flatnonzero(candidates)
    if chosen.size < fewest:
        raise TooFewStars(f"{chosen.size} comparison stars; a light curve needs {fewest}", advice=_ADVICE)
    stars = _Stars.start(magnitudes[:, chosen], errors[:, chosen])
    for _ in range(_ROUNDS):
        stars = stars.refined()
        steady = stars.steady(variable_sigma)
        if steady.all() or steady.sum() < fewest:
            break
        chosen, stars = chosen[steady], stars.only(steady)
    is_comparison = np.zeros(candidates.size, np.bool_)
    is_comparison[chosen] = True
    return _ensemble_of(stars, magnitudes, is_comparison)


def build_light_curve(
    sources: Table,
    ra: float,
    dec: float,
    *,
    radius: float = 3.0,
    search: float | None = None,
    least_presence: float = 0.8,
    least_snr: float = 20.0,
    fewest: int = 2,
    most: int = 250,
) -> LightCurve:
    """Build the light curve of the object at a position.

    Parameters
    ----------
    sources : Table
        All sources of all frames around there: frame (0, 1, 2 ...), ra, dec (deg), mag, mag_err, and flagged
        (bool): such a source is no measure of a comparison star. The magnitudes of a frame may be off by
        any constant.
    ra, dec : float
        Degrees.
    radius : float
        Arcsec: how far the sources of an object may be from its mean position. About half the width of a star.
    search : float, optional
        Arcsec: how far the object may be from where it is looked for; by default `radius`.
    least_presence : float
        Comparison stars are seen in at least this part of the frames in which the object is.
    least_snr : float
        Their median signal-to-noise ratio.
    fewest, most : int
        Comparison stars needed, and how many are enough: those with the least noise are taken.

    Returns
    -------
    LightCurve

    Raises
    ------
    TooFewFrames
        The object is in no frame.
    TooFewStars
        There are too few comparison stars.
    """
    usable = sources[np.isfinite(sources["mag"]) & (np.asarray(sources["mag_err"]) > 0)]
    objects = associate(usable["frame"], usable["ra"], usable["dec"], radius)
    target, places = _object_at(usable, objects, ra, dec, radius if search is None else search)
    magnitudes, errors, flagged = _matrices(usable, objects)
    unspoilt = np.where(flagged, np.nan, magnitudes)
    seen = np.isfinite(magnitudes[:, target])
    presence = np.isfinite(unspoilt[seen]).mean(axis=0)
    candidates = (presence >= least_presence) & (_median(errors[seen]) <= POGSON / least_snr)
    candidates[target] = False
    candidates = _quietest(candidates, errors[seen], most)
    ensemble = fit_ensemble(unspoilt, np.where(flagged, np.nan, errors), candidates, fewest=fewest)
    points = _points(ensemble, magnitudes[:, target], errors[:, target], flagged[:, target])
    east, north = positions_of(places[target])
    return LightCurve(
        ra=float(east),
        dec=float(north),
        magnitude=float(np.median(points["mag"])),
        scatter=_sigma(np.asarray(points["mag"])),
        points=points,
        comparison=_comparison(ensemble, places, unspoilt),
    )


_ADVICE = "widen the search, take deeper frames, or accept stars seen in fewer of them"


# ------------------------------------------------------------------------------------------ association


def _rows_of_frames(frame: NDArray[Any]) -> list[Numbers]:
    """Return the rows of each frame, the richest frame first."""
    if not frame.size:
        return []
    order = np.argsort(frame, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(frame[order])) + 1)
    richest = max(range(len(parts)), key=lambda part: parts[part].size)
    return [parts[richest], *parts[:richest], *parts[richest + 1 :]]


def _nearest_of_each(means: Values, vectors: Values, reach: float) -> Numbers:
    """Return for each source the object it belongs to, or -1; of two sources of one object the nearer has it."""
    distance, nearest = cKDTree(means).query(vectors, distance_upper_bound=reach)
    found = np.full(len(vectors), -1, np.intp)
    inside = np.flatnonzero(np.isfinite(distance))
    inside = inside[np.argsort(distance[inside], kind="stable")]
    _, first = np.unique(nearest[inside], return_index=True)
    winners = inside[first]
    found[winners] = nearest[winners]
    return found


def _object_at(sources: Table, objects: Numbers, ra: float, dec: float, radius: float) -> tuple[int, Values]:
    """Return the object nearest to a position, and the places of all objects."""
    vectors = unit_vectors(sources["ra"], sources["dec"])
    count = objects.max(initial=-1) + 1
    places: Values = np.stack([np.bincount(objects, vectors[:, axis], count) for axis in range(3)], axis=1)
    places = places.astype(np.float64)  # bincount of nothing gives integers
    places /= np.maximum(np.linalg.norm(places, axis=1), np.finfo(float).tiny)[:, np.newaxis]
    distance = np.linalg.norm(places - unit_vectors(ra, dec), axis=1)
    if not count or distance.min() > radius * _ARCSEC:
        nearest = f"; the nearest is {distance.min() / _ARCSEC:.1f} arcsec away" if count else ""
        raise TooFewFrames(
            f"no star was measured within {radius:.1f} arcsec of {ra:.5f} {dec:+.5f}{nearest}",
            advice="look at the position, or widen the radius",
        )
    return int(np.argmin(distance)), places


def _matrices(sources: Table, objects: Numbers) -> tuple[Values, Values, NDArray[np.bool_]]:
    """Return magnitudes, errors and flags with a row for each frame and a column for each object."""
    shape = (int(np.max(sources["frame"])) + 1, int(objects.max()) + 1)
    where = (np.asarray(sources["frame"]), objects)
    magnitudes, errors = np.full(shape, np.nan), np.full(shape, np.nan)
    flagged = np.zeros(shape, np.bool_)
    magnitudes[where], errors[where] = sources["mag"], sources["mag_err"]
    flagged[where] = sources["flagged"]
    return magnitudes, errors, flagged


# --------------------------------------------------------------------------------------------- ensemble


@dataclass(frozen=True, eq=False)
class _Stars:
    """Comparison stars in the making: what was measured, and the means and offsets found so far."""

    magnitudes: Values
    variances: Values
    mean: Values
    offset: Values
    excess: Values
    """Variance of each star beyond its photon noise."""

    @classmethod
    def start(cls, magnitudes: Values, errors: Values) -> _Stars:
        """Begin with medians."""
        mean = _median(magnitudes)
        offset = _median((magnitudes - mean).T)
        differential = magnitudes - offset[:, np.newaxis]
        mean = _median(differential)
        scatter = MAD_TO_SIGMA * _median(np.abs(differential - mean))
        return cls(magnitudes, errors**2, mean, offset, np.maximum(scatter, _LEAST_SCATTER) ** 2)

    def only(self, which: NDArray[np.bool_]) -> _Stars:
        """Return some of the stars."""
        return _Stars(
            self.magnitudes[:, which],
            self.variances[:, which],
            self.mean[which],
            self.offset,
            self.excess[which],
        )

    def refined(self) -> _Stars:
        """Solve for means, offsets and scatters in turns until the offsets stand still."""
        stars = self
        for _ in range(_ROUNDS):
            weights = stars.weights()
            offset = _weighted_mean((stars.magnitudes - stars.mean).T, weights.T)
            mean = _weighted_mean(stars.magnitudes - offset[:, np.newaxis], weights)
            change = np.nanmax(np.abs(offset - stars.offset), initial=0.0)
            stars = replace(stars, offset=offset, mean=mean)
            stars = replace(stars, excess=stars.excess_variance())
            if change < _CONVERGED:
                break
        return stars

    def weights(self) -> Values:
        """Return the weight of each measurement; 0 where there is none, or it is far off."""
        variance = self.variances + self.excess
        near = np.abs(self.residuals()) <= _CLIP_SIGMA * np.sqrt(variance)
        return np.where(near, 1 / variance, 0.0)

    def residuals(self) -> Values:
        """Return what means and offsets leave."""
        left: Values = self.magnitudes - self.mean - self.offset[:, np.newaxis]
        return left

    def differential(self) -> Values:
        """Return the residuals of each star against the ensemble of the others."""
        weights = np.where(np.isnan(self.residuals()), 0.0, 1 / (self.variances + self.excess))
        share = weights / np.maximum(weights.sum(axis=1), np.finfo(float).tiny)[:, np.newaxis]
        differential: Values = self.residuals() / np.maximum(1 - share, 0.1)
        return differential

    def excess_variance(self) -> Values:
        """Return by how much each star varies beyond photon noise and the error of the others."""
        scatter = MAD_TO_SIGMA * _median(np.abs(self.differential()))
        noise = _median(self.variances + self.error()[:, np.newaxis] ** 2)
        return np.maximum(np.nan_to_num(scatter**2 - noise), _LEAST_SCATTER**2)

    def error(self) -> Values:
        """Return the standard error of each frame's offset; NaN where there is none."""
        total = self.weights().sum(axis=1)
        variance: Values = np.divide(1.0, total, out=np.full(total.shape, np.nan), where=total > 0)
        return np.sqrt(variance)

    def steady(self, sigma: float) -> NDArray[np.bool_]:
        """Return which stars do not vary more than those like them."""
        common = np.median(self.excess)
        ratio = np.log(np.sqrt((_median(self.variances) + self.excess) / (_median(self.variances) + common)))
        limit = sigma * max(_sigma(ratio), 0.1)
        steady: NDArray[np.bool_] = ratio <= np.median(ratio) + limit
        return steady


def _ensemble_of(stars: _Stars, magnitudes: Values, is_comparison: NDArray[np.bool_]) -> Ensemble:
    level = np.nanmedian(stars.offset)
    offset = stars.offset - level
    differential = magnitudes - offset[:, np.newaxis]
    mean = _median(differential)
    deviation = differential - mean
    deviation[:, is_comparison] = stars.differential()
    scatter = MAD_TO_SIGMA * _median(np.abs(deviation))
    scatter[np.isfinite(differential).sum(axis=0) < 2] = np.nan
    return Ensemble(
        offset=offset,
        error=stars.error(),
        n_stars=np.count_nonzero(stars.weights(), axis=1),
        is_comparison=is_comparison,
        magnitude=mean,
        scatter=scatter,
        excess=float(np.sqrt(np.median(stars.excess))),
    )


# -------------------------------------------------------------------------------------------- one object


def _quietest(candidates: NDArray[np.bool_], errors: Values, most: int) -> NDArray[np.bool_]:
    """Return the candidates with the smallest errors."""
    chosen = np.flatnonzero(candidates)
    chosen = chosen[np.argsort(_median(errors[:, chosen]), kind="stable")[:most]]
    quietest = np.zeros(candidates.size, np.bool_)
    quietest[chosen] = True
    return quietest


def _points(ensemble: Ensemble, magnitude: Values, error: Values, flagged: NDArray[np.bool_]) -> Table:
    frames = np.flatnonzero(np.isfinite(magnitude) & np.isfinite(ensemble.error))
    if not frames.size:
        raise TooFewStars("no comparison star was seen together with the object", advice=_ADVICE)
    differential = magnitude[frames] - ensemble.offset[frames]
    total = np.sqrt(error[frames] ** 2 + ensemble.error[frames] ** 2 + ensemble.excess**2)
    flux = 10 ** (-0.4 * (differential - np.median(differential)))
    return Table(
        {
            "frame": frames,
            "mag": differential,
            "mag_err": total,
            "flux": flux,
            "flux_err": flux * total / POGSON,
            "offset": ensemble.offset[frames],
            "offset_err": ensemble.error[frames],
            "n_comparison": ensemble.n_stars[frames],
            "flagged": flagged[frames],
        }
    )


def _comparison(ensemble: Ensemble, places: Values, magnitudes: Values) -> Table:
    which = np.flatnonzero(ensemble.is_comparison)
    ra, dec = positions_of(places[which])
    return Table(
        {
            "ra": ra,
            "dec": dec,
            "mag": ensemble.magnitude[which],
            "scatter": ensemble.scatter[which],
            "n_frames": np.isfinite(magnitudes[:, which]).sum(axis=0),
        }
    )


# ------------------------------------------------------------------------------------------------ values


def _median(values: Values) -> Values:
    """Return the medians of columns without their NaN; NaN where a column holds nothing else."""
    ordered = np.sort(values, axis=0)  # NaN come last
    count = np.isfinite(values).sum(axis=0)
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(values) - 1)
    columns = np.arange(values.shape[1])
    middle: Values = (ordered[low, columns] + ordered[high, columns]) / 2
    return np.where(count > 0, middle, np.nan)


def _weighted_mean(values: Values, weights: Values) -> Values:
    """Return the weighted means of columns; NaN where all weights are zero."""
    total = weights.sum(axis=0)
    summed = np.sum(np.where(weights > 0, values, 0.0) * weights, axis=0)
    mean: Values = np.divide(summed, total, out=np.full(total.shape, np.nan), where=total > 0)
    return mean


def _sigma(values: Values) -> float:
    return float(MAD_TO_SIGMA * np.median(np.abs(values - np.median(values))))
