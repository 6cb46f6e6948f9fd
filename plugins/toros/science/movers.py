"""What moves: detections of one night that lie on a straight way at a constant rate, and the movers that are known.

Pairs of detections at two epochs that are as far apart as the limits of the rate allow predict where the mover is
at all other epochs; whoever is seen there joins the tracklet (Kubica et al. 2007, Icarus 189, 151; Denneau et al.
2013, PASP 125, 357).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from toros.errors import BadParameters
from toros.science.healpix import positions_of, unit_vectors
from toros.science.plate_matching import ARCSEC, TangentPlane, sky_position

Values = NDArray[np.float64]
Numbers = NDArray[np.intp]

LEAST_DETECTIONS = 3
"""Two detections are always on a line."""

_HOURS = 24.0


@dataclass(frozen=True, eq=False)
class Tracklet:
    """Detections of something that moves.

    Parameters
    ----------
    rows : ndarray of intp
        Of the detections, in the order of time.
    epoch : float
        Mean of their times, days.
    ra, dec : float
        Place at that epoch, degrees.
    rate_east, rate_north : float
        arcsec per hour on the sky.
    rms : float
        Of the detections about the straight way, arcsec (of both axes together).
    """

    rows: Numbers
    epoch: float
    ra: float
    dec: float
    rate_east: float
    rate_north: float
    rms: float

    @property
    def rate(self) -> float:
        """Of the motion, arcsec per hour."""
        return float(np.hypot(self.rate_east, self.rate_north))


def link_tracklets(
    ra: ArrayLike,
    dec: ArrayLike,
    time: ArrayLike,
    *,
    rates: tuple[float, float],
    tolerance: float,
    least: int = LEAST_DETECTIONS,
) -> list[Tracklet]:
    """Link the detections of a night to tracklets.

    Parameters
    ----------
    ra, dec : array_like, shape (n,)
        Degrees, within one field of a few degrees; what stands still should have been taken away.
    time : array_like, shape (n,)
        Days; equal ones are of one frame.
    rates : (float, float)
        Slowest and fastest motion, arcsec per hour.
    tolerance : float
        Largest rms about the straight way, arcsec; about the error of a position.
    least : int
        Detections of a tracklet at distinct times, 3 or more.

    Returns
    -------
    list of Tracklet
        Those with the most detections first, then the straightest. No detection belongs to two.

    Raises
    ------
    BadParameters
        If the limits make no sense.
    """
    slow, fast = rates
    if not (0 < slow < fast and tolerance > 0 and least >= LEAST_DETECTIONS):
        raise BadParameters(
            f"no tracklets of {least} detections at {slow} to {fast} arcsec/h to {tolerance} arcsec"
        )
    time = np.asarray(time, np.float64)
    if np.unique(time).size < least:
        return []
    vectors = unit_vectors(ra, dec)
    plane = TangentPlane(*sky_position(vectors.mean(axis=0)))
    night = _Night(plane.project(vectors), time)
    found = {
        tuple(rows): _straight_way(rows, night, plane) for rows in night.chains(slow, fast, tolerance, least)
    }
    straight = [one for one in found.values() if one.rms <= tolerance and slow <= one.rate <= fast]
    straight.sort(key=lambda one: (-one.rows.size, one.rms, one.rows.tolist()))
    return _without_shared(straight, time.size)


def match_movers(
    ra: ArrayLike, dec: ArrayLike, time: ArrayLike, known: Table, radius: float
) -> tuple[Numbers, Values]:
    """Find the known mover at the place of each detection.

    Parameters
    ----------
    ra, dec, time : array_like, shape (n,)
        Degrees; days.
    known : Table
        name; ra, dec (degrees) at epoch (days); rate_east, rate_north (arcsec per hour on the
        sky). The motion is taken along a great circle: good for the night of the epoch.
    radius : float
        Arcsec.

    Returns
    -------
    rows : ndarray of intp, shape (n,)
        Of the nearest known mover at the time of the detection, -1 without one.
    distance : ndarray of float64, shape (n,)
        Arcsec to it; infinite without one.
    """
    vectors, time = unit_vectors(ra, dec), np.asarray(time, np.float64)
    rows, distance = np.full(time.size, -1, np.intp), np.full(time.size, np.inf)
    if not len(known):
        return rows, distance
    for epoch in np.unique(time):
        here = np.flatnonzero(time == epoch)
        apart, mover = cKDTree(_moved(known, epoch)).query(
            vectors[here], distance_upper_bound=radius / ARCSEC
        )
        met = np.isfinite(apart)
        rows[here[met]] = mover[met]
        distance[here[met]] = apart[met] * ARCSEC
    return rows, distance


class _Night:
    """The detections of a night on a plane (arcsec), by frame."""

    def __init__(self, places: Values, time: Values) -> None:
        self.places = places
        self.times, epoch = np.unique(time, return_inverse=True)
        self.hours = (time - self.times[0]) * _HOURS
        self.rows = [np.flatnonzero(epoch == number) for number in range(self.times.size)]
        self.trees = [cKDTree(places[rows]) for rows in self.rows]

    def chains(self, slow: float, fast: float, tolerance: float, least: int) -> Iterator[Numbers]:
        """Yield rows that lie on the way of one of their pairs, in the order of time."""
        for first in range(self.times.size - 1):
            for second in range(first + 1, self.times.size):
                one, other = self._pairs(first, second, slow, fast, tolerance)
                members = self._joined(first, second, one, other, tolerance)
                enough = (members >= 0).sum(axis=1) >= least
                for row in members[enough]:
                    yield row[row >= 0]

    def _pairs(
        self, first: int, second: int, slow: float, fast: float, tolerance: float
    ) -> tuple[Numbers, Numbers]:
        """Return the rows of pairs at two epochs whose distance the rates allow."""
        hours = (self.times[second] - self.times[first]) * _HOURS
        pairs = self.trees[first].sparse_distance_matrix(
            self.trees[second], fast * hours + 2 * tolerance, output_type="ndarray"
        )
        pairs = pairs[pairs["v"] >= slow * hours - 2 * tolerance]
        return self.rows[first][pairs["i"]], self.rows[second][pairs["j"]]

    def _joined(self, first: int, second: int, one: Numbers, other: Numbers, tolerance: float) -> Numbers:
        """Return the row at every epoch that is where a pair predicts it, -1 without one, (pairs, epochs)."""
        members = np.full((one.size, self.times.size), -1, np.intp)
        members[:, first], members[:, second] = one, other
        way = self.places[other] - self.places[one]
        for epoch in range(self.times.size):
            if epoch in (first, second) or not one.size:
                continue
            part = (self.times[epoch] - self.times[first]) / (self.times[second] - self.times[first])
            # Errors of the pair grow with the distance in time from it; only what is in reach is looked for.
            reach = 3 * tolerance * float(np.sqrt(1 + part**2 + (1 - part) ** 2))
            distance, nearest = self.trees[epoch].query(
                self.places[one] + part * way, distance_upper_bound=reach
            )
            met = np.isfinite(distance)
            members[met, epoch] = self.rows[epoch][nearest[met]]
        return members


def _straight_way(rows: Numbers, night: _Night, plane: TangentPlane) -> Tracklet:
    """Fit a place and a rate by least squares."""
    hours, places = night.hours[rows], night.places[rows]
    middle = hours.mean()
    rate = (hours - middle) @ (places - places.mean(axis=0)) / np.square(hours - middle).sum()
    place = places.mean(axis=0)
    missed = places - place - np.outer(hours - middle, rate)
    ra, dec = plane.sky(place)
    rms = float(np.sqrt(np.square(missed).sum() / rows.size))
    epoch = float(night.times[0] + middle / _HOURS)
    return Tracklet(rows, epoch, ra, dec, float(rate[0]), float(rate[1]), rms)


def _without_shared(tracklets: list[Tracklet], count: int) -> list[Tracklet]:
    """Keep the first of tracklets that share a detection."""
    free, kept = np.ones(count, np.bool_), []
    for one in tracklets:
        if free[one.rows].all():
            free[one.rows] = False
            kept.append(one)
    return kept


def _directions(vectors: Values) -> tuple[Values, Values]:
    """Return the unit vectors to the east and to the north at directions (n, 3)."""
    ra, dec = (np.radians(angle) for angle in positions_of(vectors))
    east = np.stack([-np.sin(ra), np.cos(ra), np.zeros_like(ra)], axis=1)
    north = np.stack([-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)], axis=1)
    return east, north


def _moved(known: Table, epoch: float) -> Values:
    """Return the directions of known movers at a time, unit vectors (m, 3)."""
    vectors = unit_vectors(known["ra"], known["dec"])
    east, north = _directions(vectors)
    hours = (epoch - np.asarray(known["epoch"], np.float64)) * _HOURS
    along, up = (np.asarray(known[name], np.float64) * hours / ARCSEC for name in ("rate_east", "rate_north"))
    moved = vectors + np.tan(along)[:, np.newaxis] * east + np.tan(up)[:, np.newaxis] * north
    unit: Values = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    return unit
