"""The kernel between two frames, fitted on stamps around their stars.

Each stamp is reduced once to its own normal equations. Whatever is tried then - which stamps to believe, how the
kernel may change over the field, how smooth it must be - only adds them up in another way (Miller et al. 2008,
AJ 136, 2083), and what a fit is worth is asked of stamps that it has not seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.ndimage import maximum_filter1d, uniform_filter, uniform_filter1d

from toros.errors import TooFewStars
from toros.science.image import Image
from toros.science.kernel import Kernel, kernel_basis, roughness
from toros.science.noise import MAD_TO_SIGMA, sky_level
from toros.science.psf import field_terms
from toros.science.stamps import stamps_at

Plane = NDArray[np.float32]
Values = NDArray[np.float64]
Which = NDArray[np.bool_]

LEAST_STAMPS = 3
"""A kernel that is the same everywhere can be had from so many."""

_STAMPS_OF_ORDER = (LEAST_STAMPS, 60, 150)
_ROUNDS = 6
_CLIP = 4.0
_LEAST_SPREAD = 0.05
"""Stamps whose chi^2 per pixel differ by no more than that are alike."""

_MODEL_ERROR = 0.01
"""Relative error (of the light in a pixel) of any kernel, in the weights: the brightest star alone must not decide."""

_LEAST_GOOD = 0.5
"""Part of a stamp's pixels that must be good in both frames."""

_SMOOTHNESS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
_TRIALS = 6
_GAIN_OF_ORDER = 1e-3
"""A higher order must foretell unseen stamps better by this much of chi^2 per pixel."""

_OUTLYING = 5.0
"""Stamps of so many times the typical chi^2 do not count when fits are compared."""

_LEAST_EXPLAINED = 0.5
"""A kernel that explains less of the stars (in squares over the noise) is chance."""

_LEAST_LIGHT = 0.1
"""Squares over the noise, per pixel of the stamps, that stars must have at least."""

_BATCH = 8
_LEVEL_PIXELS = 20_000
_WORDS = "the two frames do not show the same stars, or too few of them: look at both, and at how they were aligned"


@dataclass(frozen=True, eq=False)
class KernelFit:
    """A kernel and how it came about.

    Parameters
    ----------
    kernel : Kernel
        Its background holds the skies of both frames.
    x, y : ndarray of float64
        The stamps that were used, 0-based px.
    n_rejected : int
        Stamps left out because they do not follow the others: variables, moving objects, bad pixels.
    smoothness : float
        Weight of the roughness of the kernel against chi^2.
    level : float
        Sky of the frame that is to be convolved.
    """

    kernel: Kernel
    x: Values
    y: Values
    n_rejected: int
    smoothness: float
    level: float


@dataclass(frozen=True, eq=False)
class _Equations:
    """Normal equations of each stamp: of the parts of a kernel and a constant, (n, parts + 1, parts + 1).

    `noise` (n, parts) is what was taken off their diagonal: the part of the noise of the frame.
    """

    x: Values
    y: Values
    matrix: Plane
    noise: Values
    vector: Values
    square: Values
    pixels: Values
    basis: Values

    def mismatch(self, solution: Values) -> Values:
        """Return chi^2 per pixel of each stamp, with a kernel (n, parts + 1) each, without the frame's noise."""
        along = np.matmul(self.matrix, solution[:, :, np.newaxis].astype(np.float32))[:, :, 0].astype(float)
        chi2: Values = self.square - 2 * (solution * self.vector).sum(axis=1) + (solution * along).sum(axis=1)
        return chi2 / self.pixels

    def own_noise(self, solution: Values) -> Values:
        """Return what the frame's noise adds to chi^2 per pixel of each stamp."""
        noise: Values = (np.square(solution[:, :-1]) * self.noise).sum(axis=1)
        return noise / self.pixels

    def chi2(self, solution: Values) -> Values:
        """Return chi^2 per pixel of each stamp."""
        return self.mismatch(solution) + self.own_noise(solution)


def fit_kernel(frame: Image, target: Image, x: Values, y: Values, *, radius: int, half: int) -> KernelFit:
    """Fit the kernel that turns a frame into another one of the same sky, on the same pixels.

    Parameters
    ----------
    frame : Image
        The sharper one.
    target : Image
        What it is to look like. Skies may be included in both.
    x, y : ndarray of float64
        Stars (or galaxies) to fit it on, 0-based px: some hundreds, spread over the frame.
    radius : int
        Of the kernel, px; of those that `kernel_radius` gives.
    half : int
        Half the side of the stamps, px.

    Returns
    -------
    KernelFit
        The order over the field is the highest, up to 2, that foretells unseen stamps better.

    Raises
    ------
    NotFinite
        A frame is masked altogether, or holds values that are not numbers.
    TooFewStars
        Fewer than three stamps are of use, or most of them do not agree with any kernel.

    Notes
    -----
    Weights are the inverse variances of both frames together, smoothed over 5 x 5 pixels: the noise of a pixel
    must not decide on its own weight, or fluxes come out too low. What the noise of `frame` adds to its own squares is
    taken off the normal equations: it would make the kernel too low, and leave some per cent of every bright star.
    """
    basis = kernel_basis(radius)
    level, target_level = _level(frame), _level(target)
    equations = _equations(frame, target, x, y, basis, half, (level, target_level))
    smoothness = _best_smoothness(equations, frame.shape)
    first = int(equations.x.size >= _STAMPS_OF_ORDER[1])
    used = _agreeing(equations, frame.shape, first, smoothness)
    order = _best_order(equations, used, frame.shape, smoothness)
    if order != first:
        used = _agreeing(equations, frame.shape, order, smoothness)
    solution = _solve(equations, used, frame.shape, order, smoothness)
    weights = np.tensordot(solution[:, :-1], basis, axes=1)
    background = solution[:, -1] - level * weights.sum(axis=(1, 2))
    background[0] += target_level
    kernel = Kernel(frame.shape, weights, background)
    if not (
        kernel.scale_range[0] > 0 and _explained(equations, used, solution, frame.shape) > _LEAST_EXPLAINED
    ):
        raise TooFewStars("the stars of one frame do not show up in the other", advice=_WORDS)
    rejected = int(np.count_nonzero(~used))
    return KernelFit(kernel, equations.x[used], equations.y[used], rejected, smoothness, level)


def _level(image: Image) -> float:
    """Return about the level of the sky: what is subtracted before, and added again after the fit."""
    step = round((image.data.size / _LEVEL_PIXELS) ** 0.5) | 1
    return sky_level(image.data[::step, ::step], image.mask[::step, ::step])


def _explained(equations: _Equations, used: Which, solution: Values, shape: tuple[int, int]) -> float:
    """Return the part of the light in the stamps of the target, in squares over the noise, that the kernel explains."""
    chi2 = equations.chi2(_at_stamps(equations, shape, solution)) * equations.pixels
    light = max(
        (equations.square - equations.pixels)[used].sum(), _LEAST_LIGHT * equations.pixels[used].sum()
    )
    return float((equations.square - chi2)[used].sum() / light)


def _agreeing(equations: _Equations, shape: tuple[int, int], order: int, smoothness: float) -> Which:
    """Return which stamps follow one kernel: the others are left out in rounds."""
    used = np.ones(equations.x.size, np.bool_)
    for _ in range(_ROUNDS):
        solution = _solve(equations, used, shape, order, smoothness)
        chi2 = equations.chi2(_at_stamps(equations, shape, solution))
        middle = np.median(chi2[used])
        spread = max(MAD_TO_SIGMA * np.median(np.abs(chi2[used] - middle)), _LEAST_SPREAD * middle)
        kept = chi2 < middle + _CLIP * spread
        if kept.sum() < max(LEAST_STAMPS, 0.5 * used.size):
            raise TooFewStars(f"only {kept.sum()} of {used.size} stamps agree on a kernel", advice=_WORDS)
        if np.array_equal(kept, used):
            break
        used = kept
    return used


def _equations(
    frame: Image, target: Image, x: Values, y: Values, basis: Values, half: int, levels: tuple[float, float]
) -> _Equations:
    """Reduce stamps to normal equations, some at a time."""
    parts = basis.shape[0] + 1
    chosen, matrices, rest = [], [], []
    for start in range(0, x.size, _BATCH):
        here = slice(start, start + _BATCH)
        design, noise, data, weight = _stamps(frame, target, x[here], y[here], basis, half, levels)
        good = np.count_nonzero(weight, axis=1) >= _LEAST_GOOD * weight.shape[1]
        design, noise, data, weight = design[good], noise[good], data[good], weight[good]
        matrix = np.matmul(design, design.swapaxes(1, 2))
        np.einsum("sii->si", matrix)[:, :-1] -= noise
        matrices.append(matrix)
        vector = np.matmul(design, data[:, :, np.newaxis])[:, :, 0]
        numbers = np.square(data, dtype=np.float64).sum(axis=1), np.count_nonzero(weight, axis=1)
        rest.append(np.column_stack([noise, vector, *numbers]).astype(float))
        chosen.append(start + np.flatnonzero(good))
    number = np.concatenate(chosen) if chosen else np.zeros(0, int)
    if number.size < LEAST_STAMPS:
        raise TooFewStars(
            f"{number.size} of {x.size} stars can be compared; {LEAST_STAMPS} are needed", advice=_WORDS
        )
    columns = np.concatenate(rest)
    taken, vector = columns[:, : parts - 1], columns[:, parts - 1 : -2]
    square, pixels = columns[:, -2:].T
    return _Equations(x[number], y[number], np.concatenate(matrices), taken, vector, square, pixels, basis)


def _stamps(
    frame: Image, target: Image, x: Values, y: Values, basis: Values, half: int, levels: tuple[float, float]
) -> tuple[Plane, Plane, Plane, Plane]:
    """Return what each part of the kernel makes of stamps, (n, parts + 1, pixels), and the square of its noise.

    Third and fourth are the target there and the weights. First and third are over the noise.
    """
    reach = basis.shape[1] // 2
    wide, narrow = (stamps_at(frame.shape, x, y, radius) for radius in (half + reach, half))
    values = wide.cut(frame.data) - np.float32(levels[0])
    bad = (wide.cut(frame.mask) != 0) | ~wide.inside
    values[bad] = 0
    side = 2 * half + 1
    for axis in (1, 2):
        bad = maximum_filter1d(bad, 2 * reach + 1, axis=axis)
    inner = slice(reach, reach + side)
    good = ~bad[:, inner, inner] & (narrow.cut(target.mask) == 0) & narrow.inside
    data, noise = narrow.cut(target.data) - np.float32(levels[1]), wide.cut(frame.variance)
    variance = _variances(noise[:, inner, inner], narrow.cut(target.variance), values[:, inner, inner], data)
    weight = np.where(good, 1 / variance, 0).astype(np.float32)
    root = np.sqrt(weight)
    design = np.empty((len(x), basis.shape[0] + 1, side, side), np.float32)
    spread = np.empty((len(x), basis.shape[0]), np.float32)
    pixels, blocks = (_moved(plane, side) for plane in ((values, noise), map(_block_sums, (values, noise))))
    for number, part in enumerate(basis):
        rows, columns = np.nonzero(part)
        middle = rows.size // 2
        light, its_noise = (
            plane[:, rows[middle], columns[middle]] for plane in (pixels if rows.size == 1 else blocks)
        )
        np.multiply(light, root, out=design[:, number])
        np.einsum("sji,sji->s", its_noise, weight, out=spread[:, number])
    design[:, -1] = root
    data *= root
    flat = (len(x), side * side)
    return design.reshape(len(x), -1, side * side), spread, data.reshape(flat), weight.reshape(flat)


def _moved(planes: Iterable[Plane], side: int) -> list[Plane]:
    """Return stamps moved by each pixel of the kernel: light moved by (i, j) comes from (-i, -j)."""
    return [sliding_window_view(plane, (side, side), axis=(1, 2))[:, ::-1, ::-1] for plane in planes]


def _block_sums(stamps: Plane) -> Plane:
    """Return the sum of the 3 x 3 pixels around each pixel of stamps."""
    for axis in (1, 2):
        stamps = 3 * uniform_filter1d(stamps, 3, axis=axis)
    return stamps


def _variances(frame: Plane, target: Plane, values: Plane, data: Plane) -> Plane:
    """Return the variance of the pixels of stamps, smoothed, with the error of the kernel itself."""
    sky = np.median(data, axis=(1, 2), keepdims=True)
    light, theirs = (np.maximum(part, 0).sum(axis=(1, 2), keepdims=True) for part in (data - sky, values))
    scale = light / np.maximum(theirs, 1e-6 * light + 1e-6)
    variance = uniform_filter(target + np.square(scale) * frame, (0, 5, 5))
    error = _MODEL_ERROR * uniform_filter(np.maximum(data - sky, 0), (0, 3, 3))
    together: Plane = np.maximum(variance, 1e-12) + np.square(error)
    return together


def _solve(
    equations: _Equations, used: Which, shape: tuple[int, int], order: int, smoothness: float
) -> Values:
    """Return the polynomials of the parts and of the background, (terms, parts + 1)."""
    count, parts = (1, 3, 6)[order], equations.vector.shape[1]
    terms = field_terms(shape, equations.x[used], equations.y[used], count)
    pairs = (terms[:, np.newaxis] * terms).reshape(count * count, -1)
    upper = [(a, b) for a in range(count) for b in range(a, count)]
    sums = np.array([pairs[a * count + b] for a, b in upper], np.float32)
    flat = equations.matrix.reshape(equations.matrix.shape[0], -1)
    flat = flat if used.all() else flat[used]
    added = (sums @ flat).reshape(len(upper), parts, parts).astype(float)
    normal = np.empty((count, parts, count, parts))
    for (a, b), block in zip(upper, added, strict=True):
        normal[a, :, b] = normal[b, :, a] = block
    vector = terms @ equations.vector[used]
    form = roughness(equations.basis)
    form *= np.trace(normal[0, :-1, 0, :-1]) / np.trace(form)
    for _ in range(_TRIALS):
        for a in range(count):
            normal[a, :-1, a, :-1] += smoothness * form
        try:
            factor = cho_factor(normal.reshape(count * parts, count * parts))
        except LinAlgError:  # the light of the stars hardly exceeds the noise that was taken off
            smoothness *= 10
            continue
        solved: Values = cho_solve(factor, vector.ravel()).reshape(count, parts)
        return solved
    raise TooFewStars("the stars do not determine a kernel", advice=_WORDS)


def _at_stamps(equations: _Equations, shape: tuple[int, int], solution: Values) -> Values:
    """Return the parts of the kernel at each stamp, (n, parts + 1)."""
    at: Values = field_terms(shape, equations.x, equations.y, solution.shape[0]).T @ solution
    return at


def _foretold(
    equations: _Equations, used: Which, shape: tuple[int, int], order: int, smoothness: float
) -> float:
    """Return chi^2 per pixel of each half of the stamps in the kernel of the other half."""
    number = np.cumsum(used) % 2 == 0
    mismatch, noise = np.empty((2, used.size))
    for half in (number, ~number):
        solution = _at_stamps(equations, shape, _solve(equations, used & ~half, shape, order, smoothness))
        mismatch[half], noise[half] = equations.mismatch(solution)[half], equations.own_noise(solution)[half]
    chi2 = mismatch + noise
    usual = used & (chi2 <= _OUTLYING * np.median(chi2[used]))
    return float(mismatch[usual].mean())


def _best_smoothness(equations: _Equations, shape: tuple[int, int]) -> float:
    """Return the smoothness whose kernel, the same everywhere, foretells unseen stamps best."""
    used = np.ones(equations.x.size, np.bool_)
    return min(_SMOOTHNESS, key=lambda smoothness: _foretold(equations, used, shape, 0, smoothness))


def _best_order(equations: _Equations, used: Which, shape: tuple[int, int], smoothness: float) -> int:
    """Return the highest order that there are stamps enough for and that foretells better than the one below."""
    best, order = _foretold(equations, used, shape, 0, smoothness), 0
    for trial in (1, 2):
        if used.sum() < _STAMPS_OF_ORDER[trial]:
            break
        foretold = _foretold(equations, used, shape, trial, smoothness)
        if foretold > best - _GAIN_OF_ORDER:
            break
        best, order = foretold, trial
    return order
