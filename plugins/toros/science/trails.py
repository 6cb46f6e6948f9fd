"""Detections that are one trail: of a satellite, an aeroplane, a fast asteroid, a slow cosmic ray."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from toros.science.image import Image

Values = NDArray[np.float64]
Indices = NDArray[np.intp]

_REACH = 12.0
"""Detections of one trail are at most so many FWHM apart from the next."""

_TOUCHING = 1.2
"""Nearer than so many FWHM nothing lies between two detections that could tell."""

_SAMPLES = 12
_MARGIN = 0.3
"""Light is looked for a FWHM or this part of the distance away from either detection."""

_LIT = 1.0
_AS_BRIGHT = 0.5
"""Least mean of the light between two detections: in units of the noise of a pixel, and of that of the fainter."""

_LEAST_MEMBERS = 4
_LEAST_LENGTH = 6.0
_MOST_WIDTH = 1.0
"""Extent of a trail, and largest distance of its detections from its line, in units of the FWHM."""

_ROUNDS = 10
_CLIP = 3.0


def find_trails(difference: Image, x: Values, y: Values, sign: Values, fwhm: float) -> Indices:
    """Find out which detections lie on a common straight line of light.

    Parameters
    ----------
    difference : Image
    x, y, sign : ndarray of float64, shape (n,)
        Detections, 0-based px; 1 or -1 for light that is there or missing.
    fwhm : float
        Of the stars, px.

    Returns
    -------
    ndarray of intp, shape (n,)
        Number of the trail of each detection, -1 without one.
    """
    places = np.column_stack([x, y])
    pairs = cKDTree(places).query_pairs(_REACH * fwhm, output_type="ndarray")
    pairs = pairs[sign[pairs[:, 0]] == sign[pairs[:, 1]]]
    one, other = pairs[_is_lit(difference, places, pairs, sign, fwhm)].T
    graph = coo_array((np.ones(one.size), (one, other)), shape=(x.size, x.size))
    trail = np.full(x.size, -1, np.intp)
    if not x.size:
        return trail
    _, group = connected_components(graph, directed=False)
    size = np.bincount(group)
    for number, members in enumerate(np.flatnonzero(size >= _LEAST_MEMBERS)):
        of_it = np.flatnonzero(group == members)
        trail[of_it[_on_line(places[of_it], fwhm)]] = number
    return trail


def _is_lit(
    difference: Image, places: Values, pairs: Indices, sign: Values, fwhm: float
) -> NDArray[np.bool_]:
    """Tell which pairs of detections have light all the way between them."""
    start, way = places[pairs[:, 0]], places[pairs[:, 1]] - places[pairs[:, 0]]
    length = np.hypot(*way.T)
    margin = np.minimum(fwhm / np.maximum(length, 1e-9), _MARGIN)[:, np.newaxis]
    between = margin + (1 - 2 * margin) * np.linspace(0, 1, _SAMPLES)
    part = np.concatenate([np.zeros_like(margin), between, np.ones_like(margin)], axis=1)
    column, row = (
        np.rint(start[:, axis, np.newaxis] + part * way[:, axis, np.newaxis]).astype(np.intp)
        for axis in (0, 1)
    )
    good = (difference.mask[row, column] == 0) & (difference.variance[row, column] > 0)
    noise = np.sqrt(np.where(good, difference.variance[row, column], 1))
    light = sign[pairs[:, :1]] * np.where(good, difference.data[row, column], 0) / noise
    least = np.maximum(_LIT, _AS_BRIGHT * light[:, [0, -1]].min(axis=1))
    return np.asarray((length < _TOUCHING * fwhm) | (light[:, 1:-1].mean(axis=1) > least))


def _on_line(places: Values, fwhm: float) -> NDArray[np.bool_]:
    """Tell which of some places lie on one line, if it is long and thin; none if it is not."""
    kept = np.ones(len(places), np.bool_)
    for _ in range(_ROUNDS):  # stars beside the trail are linked to it, and pull at the line
        middle = np.median(places[kept], axis=0)
        direction = np.linalg.svd(places[kept] - middle, full_matrices=False)[2][0]
        along, across = (places - middle) @ direction, (places - middle) @ [-direction[1], direction[0]]
        distance = np.abs(across - np.median(across[kept]))
        closer = distance <= max(_MOST_WIDTH * fwhm, _CLIP * float(np.median(distance[kept])))
        if np.array_equal(closer, kept):
            break
        kept = closer
    thin = float(np.median(distance[kept])) < _MOST_WIDTH * fwhm / 2
    long = kept.sum() >= _LEAST_MEMBERS and np.ptp(along[kept]) > _LEAST_LENGTH * fwhm
    return kept if thin and long else np.zeros_like(kept)
