"""The transformation between two frames of one field, from their stars alone.

The triangles and the odds of `toros.science.plate_matching` find the pairs: one frame is laid on the sky as if it were
a catalogue, an arcsecond to the pixel. Then all stars are paired and a polynomial is fitted, of as high a
degree as the pairs support.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from toros.errors import BadParameters, NoPlateSolution, TooFewStars
from toros.science.plate_matching import (
    Floats,
    Hint,
    Indices,
    TangentPlane,
    match_plate,
    nearest_pairs,
)
from toros.science.resample import Polynomial

_AFFINE_STARS = 8
_QUADRATIC_STARS = 30
_MOST_UNCERTAIN = 0.6
"""Of a quadratic fit anywhere on the frame, relative to the error of a star."""

_ROUNDS = 10
_CLIP_SIGMA = 3.5
_LEAST_RADIUS = 0.5
"""Pixels within which two stars are paired however small their errors are."""

_PLANE = TangentPlane(180.0, 0.0)


@dataclass(frozen=True, eq=False)
class StarList:
    """The stars of a frame.

    Parameters
    ----------
    x, y : ndarray of float, shape (n,)
        0-based px, finite.
    flux : ndarray of float, shape (n,)
        Any measure of brightness that orders them.
    shape : (int, int)
        Rows and columns of the frame.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    flux: NDArray[Any]
    shape: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Registration:
    """How a frame lies on a reference frame.

    Attributes
    ----------
    transform : Polynomial
        From pixels of the reference frame to those of the frame: what `toros.science.resample.pixel_map` takes.
    rms : float
        px of the frame, of one axis: the root of half the mean squared distance between the stars of a pair.
    n_stars : int
        Pairs in the fit.
    scale : float
        Pixels of the frame per pixel of the reference.
    rotation : float
        Degrees by which the x axis of the reference is turned in the frame, from +x towards +y.
    mirrored : bool
        Whether the two have different parity.
    stars, reference_stars : ndarray of intp, shape (n_stars,)
        Indices of the pairs.
    """

    transform: Polynomial
    rms: float
    n_stars: int
    scale: float
    rotation: float
    mirrored: bool
    stars: Indices
    reference_stars: Indices


def register(
    stars: StarList,
    reference: StarList,
    *,
    scale: float = 1.0,
    scale_range: float = 0.03,
    highest_order: int = 2,
    false_alarm: float = 1e-8,
) -> Registration:
    """Find how a frame lies on a reference frame: shifted, turned, mirrored, a little bent.

    Parameters
    ----------
    stars, reference : StarList
        Of the frame and of the reference frame. Both should hold stars of about the same depth.
    scale : float
        Pixels of the frame per pixel of the reference, as far as known.
    scale_range : float
        Relative; how wrong that may be.
    highest_order : int
        1 or 2. The transformation is a similarity with less than 8 pairs, quadratic where 30 pairs or more
        lie all over the frame, else affine.
    false_alarm : float
        How often, at most, frames of different fields may be taken for frames of one.

    Returns
    -------
    Registration

    Raises
    ------
    TooFewStars
        If one of the frames has too few stars to be sure.
    NoPlateSolution
        If the frames do not match.
    BadParameters
        If the input makes no sense.
    """
    if highest_order not in (1, 2):
        raise BadParameters(f"a transformation of order {highest_order}; it can be 1 or 2")
    if not 0 < scale < math.inf:
        raise BadParameters(f"{scale} pixels of the frame per pixel of the reference")
    star, other, radius = _first_pairs(stars, reference, 1 / scale, scale_range, false_alarm)
    here, there = _places(stars), _places(reference)
    tree = cKDTree(here)
    transform = _fitted(there[other], here[star], reference.shape, highest_order)
    for _ in range(_ROUNDS):
        before = star, other
        star, other, distance = nearest_pairs(tree, _moved(transform, there), radius)
        kept = distance <= _CLIP_SIGMA * _sigma(distance)
        star, other = star[kept], other[kept]
        if np.array_equal(star, before[0]) and np.array_equal(other, before[1]):
            break
        transform = _fitted(there[other], here[star], reference.shape, highest_order)
        radius = max(_LEAST_RADIUS, 2 * _CLIP_SIGMA * _sigma(distance[kept]))
    error = _moved(transform, there[other]) - here[star]
    matrix = transform.matrix
    return Registration(
        transform=transform,
        rms=math.sqrt(float((error**2).sum()) / error.size),
        n_stars=star.size,
        scale=math.sqrt(abs(float(np.linalg.det(matrix)))),
        rotation=math.degrees(math.atan2(matrix[1, 0], matrix[0, 0])),
        mirrored=bool(np.linalg.det(matrix) < 0),
        stars=star,
        reference_stars=other,
    )


def _first_pairs(
    stars: StarList, reference: StarList, scale: float, scale_range: float, false_alarm: float
) -> tuple[Indices, Indices, float]:
    """Return the pairs that triangles of bright stars agree on, and the radius (px) within which they meet."""
    bright, bright_reference = (np.argsort(-listed.flux, kind="stable") for listed in (stars, reference))
    middle = (np.array(reference.shape[::-1]) - 1) / 2
    positions = [_PLANE.sky(place - middle) for place in _places(reference)[bright_reference]]
    ra, dec = np.array(positions, np.float64).reshape(-1, 2).T
    # the frames must meet somewhere
    reach = (math.hypot(*stars.shape) * scale + math.hypot(*reference.shape)) / 2 / 3600
    hint = Hint(_PLANE.ra, _PLANE.dec, reach, scale, scale_range)
    x, y = _places(stars)[bright].T
    try:
        match = match_plate(x, y, ra, dec, stars.shape, hint, false_alarm=false_alarm)
    except (TooFewStars, NoPlateSolution) as error:
        counts = f"{x.size} stars of a frame and {ra.size} of its reference"
        raise type(error)(f"{counts} do not match", advice="look at both: is it the same field?") from None
    return bright[match.detections], bright_reference[match.stars], max(_LEAST_RADIUS, match.radius)


def _places(stars: StarList) -> Floats:
    """Return x and y, shape (n, 2)."""
    return np.column_stack([stars.x, stars.y]).astype(np.float64, copy=False)


def _moved(transform: Polynomial, places: Floats) -> Floats:
    return np.column_stack(transform(places[:, 0], places[:, 1]))


def _fitted(there: Floats, here: Floats, shape: tuple[int, int], highest_order: int) -> Polynomial:
    """Return the transformation from there to here, of as high a degree as the pairs support."""
    height, width = shape
    middle, unit = ((width - 1) / 2, (height - 1) / 2), math.hypot(height, width) / 2
    if len(there) < _AFFINE_STARS:
        return Polynomial(middle, unit, _similarity((there - middle) / unit, here))
    frame = Polynomial(middle, unit, np.zeros((6, 2)))
    for count in (6, 3) if highest_order == 2 and len(there) >= _QUADRATIC_STARS else (3,):
        terms = frame.terms(there[:, 0], there[:, 1], count)
        if count == 3 or _uncertainty(terms, frame, shape) < _MOST_UNCERTAIN:
            break
    return Polynomial(middle, unit, np.asarray(np.linalg.lstsq(terms, here, rcond=None)[0], np.float64))


def _similarity(there: Floats, here: Floats) -> Floats:
    """Return the coefficients of shift, turn and scale, of the parity that fits better."""
    goal = here[:, 0] + 1j * here[:, 1]
    found = []
    for sense in (1j, -1j):
        place = there[:, 0] + sense * there[:, 1]
        terms = np.column_stack([np.ones_like(place), place])
        shift, turn = np.linalg.lstsq(terms, goal, rcond=None)[0]
        miss = float((np.abs(terms @ [shift, turn] - goal) ** 2).sum())
        found.append((miss, np.array([shift, turn, turn * sense])))
    best = min(found, key=lambda pair: pair[0])[1]
    return np.column_stack([best.real, best.imag])


def _uncertainty(terms: Floats, frame: Polynomial, shape: tuple[int, int]) -> float:
    """Return the largest error of a fit on the rim of the frame, for stars with errors of 1."""
    y, x = np.meshgrid(*(np.linspace(0, length - 1, 5) for length in shape), indexing="ij")
    rim = frame.terms(x.ravel(), y.ravel(), terms.shape[1])
    inverse = np.linalg.pinv(terms)
    return float(np.sqrt(np.square(rim @ inverse).sum(axis=1).max()))


def _sigma(distance: Floats) -> float:
    """Return the standard deviation per axis of normal errors from their median length."""
    return float(np.median(distance)) / math.sqrt(2 * math.log(2)) if distance.size else 0.0
