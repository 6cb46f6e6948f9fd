"""How well probabilities tell real from bogus: the curve, and the numbers that are read from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toros.errors import BadParameters

Values = NDArray[np.float64]
Labels = NDArray[np.bool_]

FALSE_POSITIVES = 0.01
"""Part of the bogus candidates that pass the threshold of a model."""

_CURVE_POINTS = 200
_BINS = 10


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How well a model tells real from bogus candidates that it has not seen.

    Parameters
    ----------
    fpr, tpr, threshold : ndarray of float64
        The curve: parts of the bogus and of the real ones at or above a probability; from (0, 0) at an infinite
        threshold to (1, 1), both rising.
    auc : float
        Area under it: 1 is perfect, 0.5 is chance.
    missed : float
        Part of the real ones below the probability that 1 % of the bogus ones reach.
    calibration_error : float
        Mean difference of probability and part that is real, in ten bins of probability.
    n_real, n_bogus : int
        Candidates it was found with.
    """

    fpr: Values
    tpr: Values
    threshold: Values
    auc: float
    missed: float
    calibration_error: float
    n_real: int
    n_bogus: int

    @property
    def threshold_of_false_positives(self) -> float:
        """Lowest probability that at most 1 % of the bogus ones reach."""
        return float(self.threshold[np.searchsorted(self.fpr, FALSE_POSITIVES, side="right") - 1])


def evaluate_probabilities(probability: Values, labels: Labels) -> Evaluation:
    """Compare probabilities, shape (n,), with the truth, bool of shape (n,): both kinds must occur.

    Raises
    ------
    BadParameters
        If all are of one kind.
    """
    if labels.all() or not labels.any():
        raise BadParameters("an evaluation needs real and bogus candidates")
    order = np.argsort(-probability, kind="stable")
    ordered, real = probability[order], labels[order]
    last = np.flatnonzero(np.append(np.diff(ordered) != 0, True))  # of equal probabilities
    n_real, n_bogus = int(real.sum()), int((~real).sum())
    tpr = np.append(0.0, np.cumsum(real)[last] / n_real)
    fpr = np.append(0.0, np.cumsum(~real)[last] / n_bogus)
    threshold = np.append(np.inf, ordered[last])
    auc = float(np.trapezoid(tpr, fpr))
    missed = 1 - float(tpr[np.searchsorted(fpr, FALSE_POSITIVES, side="right") - 1])
    kept = _corners(fpr, tpr)
    return Evaluation(
        fpr[kept],
        tpr[kept],
        threshold[kept],
        auc,
        missed,
        _calibration_error(probability, labels),
        n_real,
        n_bogus,
    )


def _corners(fpr: Values, tpr: Values) -> NDArray[np.intp]:
    """Choose the points of a curve: some hundred, the one at 1 % false positives and both ends among them."""
    at_limit = np.searchsorted(fpr, FALSE_POSITIVES, side="right") - 1
    way = np.hypot(np.diff(np.sqrt(fpr), prepend=0), np.diff(tpr, prepend=0)).cumsum()
    even = np.searchsorted(way, np.linspace(0, way[-1], _CURVE_POINTS)).clip(max=fpr.size - 1)
    return np.unique(np.concatenate([even, [0, at_limit, fpr.size - 1]]))


def _calibration_error(probability: Values, labels: Labels) -> float:
    """Return the expected calibration error (Naeini et al. 2015, AAAI 29): each bin weighs as its members."""
    number = (probability * _BINS).astype(np.intp).clip(max=_BINS - 1)
    difference = np.bincount(number, probability - labels, _BINS)
    return float(np.abs(difference).sum() / labels.size)
