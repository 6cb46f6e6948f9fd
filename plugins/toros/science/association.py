"""Detections of many epochs become objects: those that are known already, and new ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from toros.errors import BadParameters
from toros.science.healpix import unit_vectors
from toros.science.light_curve import associate
from toros.science.plate_matching import ARCSEC, nearest_pairs

Numbers = NDArray[np.intp]


def associate_detections(
    known_ra: ArrayLike,
    known_dec: ArrayLike,
    ra: ArrayLike,
    dec: ArrayLike,
    time: ArrayLike,
    radius: float,
) -> Numbers:
    """Find out which object each detection belongs to.

    At every epoch an object takes the nearest detection within the radius, and no other. What no known object takes is
    matched epoch by epoch among itself (`toros.science.light_curve.associate`). The order of the rows does not
    matter, but for detections at exactly the same distance.

    Parameters
    ----------
    known_ra, known_dec : array_like, shape (m,)
        Objects found before, degrees.
    ra, dec : array_like, shape (n,)
        Detections, degrees.
    time : array_like, shape (n,)
        Their epochs, in any unit: equal ones are of one frame.
    radius : float
        Arcsec; about half the width of a star.

    Returns
    -------
    ndarray of intp, shape (n,)
        Row of the known object, or m and more for new objects, numbered by their first epoch and right ascension.

    Raises
    ------
    BadParameters
        If the radius is not positive.
    """
    if not radius > 0:
        raise BadParameters(f"nothing is within {radius} arcsec of an object")
    ra, dec, time = (np.asarray(values, np.float64) for values in (ra, dec, time))
    known = unit_vectors(known_ra, known_dec)
    epoch = np.unique(time, return_inverse=True)[1]
    objects = _of_known(known, unit_vectors(ra, dec), epoch, radius / ARCSEC)
    new = np.flatnonzero(objects < 0)
    if new.size:
        number = associate(epoch[new], ra[new], dec[new], radius)
        objects[new] = len(known) + _by_first_sight(number, time[new], ra[new])
    return objects


def _of_known(
    known: NDArray[np.float64], vectors: NDArray[np.float64], epoch: Numbers, reach: float
) -> Numbers:
    """Return for each detection the known object that takes it, or -1."""
    objects = np.full(len(vectors), -1, np.intp)
    if not len(known):
        return objects
    tree = cKDTree(known)
    for rows in (
        np.split(np.argsort(epoch, kind="stable"), np.bincount(epoch).cumsum()[:-1]) if len(vectors) else ()
    ):
        found, of_rows, _ = nearest_pairs(tree, vectors[rows], reach)
        objects[rows[of_rows]] = found
    return objects


def _by_first_sight(number: Numbers, time: NDArray[np.float64], ra: NDArray[np.float64]) -> Numbers:
    """Return new numbers of objects, by the epoch and the right ascension of their first detections."""
    order = np.lexsort((ra, time))
    _, first, inverse = np.unique(number[order], return_index=True, return_inverse=True)
    rank = np.empty_like(first)
    rank[np.argsort(first)] = np.arange(first.size)
    renumbered = np.empty_like(number)
    renumbered[order] = rank[inverse]
    return renumbered
