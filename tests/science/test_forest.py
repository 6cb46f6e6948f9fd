from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from toros.errors import BadModel, BadParameters
from toros.science.forest import DEEPEST, Forest, forest_of, grow_forest


def two_clouds(seed: int, count: int = 600, columns: int = 7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.random(count) < 0.4
    features = rng.normal(size=(count, columns)).astype(np.float32)
    features[labels, :3] += 1
    return features, labels


def stump(**changes: object) -> Forest:
    arrays = {
        "n_features": 2,
        "roots": np.array([0, 3], np.int32),
        "feature": np.array([0, -1, -1, -1], np.int16),
        "number": np.array([0.5, 0.25, 1.0, 0.5], np.float32),
    }
    return Forest(**(arrays | changes))


@pytest.mark.parametrize("leaves", [None, 8, 100])
def test_the_votes_are_those_of_scikit_learn(leaves: int | None) -> None:
    features, labels = two_clouds(1)
    classifier = RandomForestClassifier(
        30, max_leaf_nodes=leaves, class_weight="balanced", random_state=2
    ).fit(features, labels)
    others = np.concatenate([two_clouds(2)[0], features])
    np.testing.assert_allclose(
        forest_of(classifier).predict(others), classifier.predict_proba(others)[:, 1], atol=1e-6
    )


def test_what_lies_on_a_threshold_is_judged_as_scikit_learn_judges_it() -> None:
    features, labels = two_clouds(3, 300, 2)
    features = np.round(features * 10) / 10
    classifier = RandomForestClassifier(20, random_state=2).fit(features, labels)
    thresholds = np.unique(np.concatenate([tree.tree_.threshold for tree in classifier.estimators_]))
    on_them = np.concatenate([thresholds.astype(np.float32), np.nextafter(thresholds.astype(np.float32), 9)])
    grid = np.stack(np.meshgrid(on_them[::3], on_them[::3]), axis=-1).reshape(-1, 2)
    np.testing.assert_allclose(
        forest_of(classifier).predict(grid), classifier.predict_proba(grid)[:, 1], atol=1e-6
    )


def test_a_forest_grown_again_is_the_same() -> None:
    features, labels = two_clouds(4)
    one, other, third = (grow_forest(features, labels, seed=seed, trees=5, leaves=20) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.number, other.number)
    assert not np.array_equal(one.feature, third.feature)


def test_a_tree_is_walked_by_hand() -> None:
    votes = stump().predict(np.array([[0.5, 9], [0.6, -9]], np.float32))
    np.testing.assert_allclose(votes, [(0.25 + 0.5) / 2, (1 + 0.5) / 2])


def test_nothing_is_judged_as_nothing() -> None:
    assert stump().predict(np.zeros((0, 2), np.float32)).shape == (0,)


@pytest.mark.parametrize("features", [np.zeros((3, 1)), np.zeros(2), np.array([[np.nan, 0]])])
def test_other_features_are_refused(features: np.ndarray) -> None:
    with pytest.raises(BadParameters, match="cannot judge"):
        stump().predict(features)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"feature": np.array([2, -1, -1, -1], np.int16)}, "unknown feature"),
        ({"feature": np.array([-2, -1, -1, -1], np.int16)}, "unknown feature"),
        ({"feature": np.array([0, 0, -1, -1], np.int16)}, "without all its leaves"),
        ({"feature": np.array([-1, -1, -1, -1], np.int16)}, "without all its leaves"),
        ({"feature": np.array([-1, 0, -1, -1], np.int16)}, "child before its parent"),
        ({"feature": np.array([0, -1, -1, 0], np.int16)}, "without all its leaves"),
        ({"feature": np.array([0, -1, -1, -1], float)}, "feature of float64"),
        ({"feature": np.zeros(0, np.int16)}, "2 trees of 0 nodes"),
        ({"roots": np.array([1, 3], np.int32)}, "no order"),
        ({"roots": np.array([0, 0], np.int32)}, "no order"),
        ({"roots": np.array([0, 4], np.int32)}, "no order"),
        ({"roots": np.array([0, -1], np.int32)}, "no order"),
        ({"roots": np.zeros((1, 1), np.int32)}, "roots of int32"),
        ({"roots": np.zeros(0, np.int32)}, "0 trees"),
        ({"number": np.array([np.nan, 0, 1, 0], np.float32)}, "no number"),
        ({"number": np.array([0.5, 0, 1.5, 0], np.float32)}, "no part of one"),
        ({"number": np.zeros(3, np.float32)}, "3 numbers for 4 nodes"),
    ],
)
def test_arrays_that_are_no_forest_are_refused(changes: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(BadModel, match=said):
        stump(**changes)


def test_a_tree_as_deep_as_a_well_is_refused() -> None:
    def chain(depth: int) -> Forest:
        feature = np.append(np.tile(np.array([0, -1], np.int16), depth), np.int16(-1))
        feature[1:] = np.concatenate([np.tile(np.array([-1, 0], np.int16), depth - 1), [-1, -1]])
        return Forest(1, np.zeros(1, np.int32), feature, np.zeros(feature.size, np.float32))

    assert chain(DEEPEST - 1).predict(np.ones((1, 1), np.float32)) == 0
    with pytest.raises(BadModel, match="steps"):
        chain(DEEPEST + 1)


def test_a_forest_cannot_be_changed_into_nonsense() -> None:
    with pytest.raises(BadModel):
        replace(stump(), roots=np.array([0], np.int32))
