"""Candidates of one simulated difference: found, described, scored; beside photutils on the same difference."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from benchmarks.unit import Bench, Case, Work, Wrong

_CHANGES_PER_PIXEL = 500 / 4096**2
_SEED = 185
"""A scene of usual seeing and a good alignment: with a bad one there are thousands of dipoles."""
_MATCH = 2.0
_BRIGHT = 8.0
"""Signal-to-noise ratio from which on a change must be found."""

_COMPLETE = 0.95


@cache
def _scene(size: int) -> Any:
    from toros.sim.difference_scenes import difference_scene

    rng = np.random.default_rng(_SEED)
    return difference_scene(rng, shape=(size, size), changes=max(20, round(_CHANGES_PER_PIXEL * size**2)))


def _recovered(size: int, x: NDArray[Any], y: NDArray[Any]) -> tuple[str, float]:
    """Say how many of the changes were found, and what else."""
    scene = _scene(size)
    changes = scene.changes
    snr = np.abs(changes.flux) / (scene.noise * scene.psf.noise_area**0.5)
    places = np.column_stack([x, y])
    far, _ = cKDTree(places).query(np.column_stack([changes.x, changes.y]))
    part = float(np.mean(far[snr > _BRIGHT] < _MATCH))
    distance, _ = cKDTree(np.column_stack([changes.x, changes.y])).query(places)
    return f"{part:.3f} of S/N > {_BRIGHT:.0f} found, {np.count_nonzero(distance > _MATCH)} others", part


def _all(bench: Bench) -> Work:
    from toros.science.candidate_features import candidate_features
    from toros.science.candidates import find_candidates
    from toros.science.real_bogus import score, shipped_model

    scene, model = _scene(bench.size), shipped_model()

    def work() -> tuple[int, Any, NDArray[np.float64]]:
        candidates = find_candidates(scene.difference, scene.psf)
        features = candidate_features(
            scene.science, scene.reference, scene.difference, candidates, scene.sources, scene.psf
        )
        return bench.size, candidates, score(model, features)

    return work


def _all_worth(result: tuple[int, Any, NDArray[np.float64]]) -> str:
    from toros.science.real_bogus import shipped_model

    size, candidates, scores = result
    x, y = candidates["x"].value, candidates["y"].value
    text, part = _recovered(size, x, y)
    passed = scores >= shipped_model().threshold
    after, _ = _recovered(size, x[passed], y[passed])
    remark = f"{len(candidates)} candidates: {text}; above the threshold {after}"
    if part < _COMPLETE:
        raise Wrong(remark)
    return remark


def _dao(bench: Bench) -> Work:
    """DAOStarFinder on the difference in units of its noise, once for each sign."""
    from photutils.detection import DAOStarFinder

    scene = _scene(bench.size)

    def work() -> tuple[int, Any, Any]:
        significance = scene.difference.data / np.sqrt(scene.difference.variance)
        tables = [
            DAOStarFinder(5 * scene.psf.noise_area**-0.5, scene.psf.fwhm)(
                sign * significance, mask=scene.difference.mask != 0
            )
            for sign in (1, -1)
        ]
        x, y = (np.concatenate([np.asarray(table[f"{axis}_centroid"]) for table in tables]) for axis in "xy")
        return bench.size, x, y

    return work


def _peaks(bench: Bench) -> Work:
    """find_peaks on the smoothed difference in units of its noise, once for each sign."""
    from photutils.detection import find_peaks
    from scipy.ndimage import gaussian_filter

    scene = _scene(bench.size)
    sigma = scene.psf.fwhm / 2.3548

    def work() -> tuple[int, Any, Any]:
        significance = scene.difference.data / np.sqrt(scene.difference.variance)
        significance[scene.difference.mask != 0] = 0
        smooth = gaussian_filter(significance, sigma)
        limit = 5 / (2 * np.sqrt(np.pi) * sigma)
        tables = [find_peaks(sign * smooth, limit) for sign in (1, -1)]
        x, y = (np.concatenate([np.asarray(table[f"{axis}_peak"]) for table in tables]) for axis in "xy")
        return bench.size, x, y

    return work


def _rival_worth(result: tuple[int, Any, Any]) -> str:
    return _recovered(*result)[0]


CASES = (
    Case(
        "candidates of one difference, their features and scores",
        _all,
        limit=5,
        megabytes=300,
        library=_dao,
        remark=_all_worth,
    ),
    Case("... photutils: DAOStarFinder of both signs, nothing else", _dao, remark=_rival_worth),
    Case("... photutils: find_peaks of both signs, nothing else", _peaks, remark=_rival_worth),
)
