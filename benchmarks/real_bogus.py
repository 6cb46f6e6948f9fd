"""The real/bogus forest on 500 candidates, beside scikit-learn's own prediction with the same trees."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.unit import Bench, Case, Work, Wrong

_SEED = 77
_SCENES = 60
_CANDIDATES = 500
_MISSED = 0.03
"""Of the real candidates at 1 % of false positives, at most."""

_PASSED = 0.02
"""Of the bogus candidates at the threshold of the model, at most."""


@cache
def _candidates() -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    from toros.sim.difference_scenes import simulated_training_set

    return simulated_training_set(_SEED, _SCENES)


def _own(bench: Bench) -> Work:
    from toros.science.real_bogus import score, shipped_model

    features, model = _candidates()[0][:_CANDIDATES], shipped_model()
    return lambda: score(model, features)


def _own_worth(_: Any) -> str:
    from toros.science.real_bogus import evaluate, score, shipped_model

    (features, labels), model = _candidates(), shipped_model()
    judged = evaluate(model, features, labels)
    passed = float(np.mean(score(model, features[~labels]) >= model.threshold))
    remark = (
        f"{judged.n_real} real, {judged.n_bogus} bogus: {100 * judged.missed:.1f} % missed at 1 % false positives, "
        f"{100 * passed:.1f} % false positives at the model's threshold"
    )
    if judged.missed > _MISSED or passed > _PASSED:
        raise Wrong(remark)
    return remark


def _sklearn(bench: Bench) -> Work:
    """A classifier with as many trees and leaves, as a user of scikit-learn trains it."""
    from sklearn.ensemble import RandomForestClassifier

    features, labels = _candidates()
    classifier = RandomForestClassifier(100, max_leaf_nodes=200, random_state=1).fit(features, labels)
    return lambda: classifier.predict_proba(features[:_CANDIDATES])


CASES = (
    Case(
        f"probabilities of {_CANDIDATES} candidates",
        _own,
        limit=1,
        megabytes=50,
        library=_sklearn,
        remark=_own_worth,
    ),
)
