"""A random forest as plain arrays: grown by scikit-learn, judged without it, safe to load from anywhere.

Breiman 2001, Machine Learning 45, 5. A pickled classifier runs whatever code its author liked, and only its own version
of scikit-learn reads it; arrays can be checked, and last. The nodes of a tree are kept level by level, so that the
children of its k-th inner node are its nodes 2k + 1 and 2k + 2: nothing points anywhere, and no walk can go in circles.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toros.errors import BadModel, BadParameters

Features = NDArray[np.float32]
Values = NDArray[np.float64]

MOST_NODES = 1_000_000
MOST_TREES = 2000
DEEPEST = 64
"""Limits of a forest that is accepted."""

_LEAF = 2
"""Least candidates in a leaf."""

_TRIED = 0.3
"""Part of the features that is tried at each node."""

_WALKS = 1 << 16
"""Walks through trees that are made at a time."""


@dataclass(frozen=True, eq=False)
class Forest:
    """Binary decision trees in one list of nodes.

    Parameters
    ----------
    n_features : int
        Columns of the features it judges.
    roots : ndarray of int32, shape (trees,)
        First node of each tree, rising; the first one is 0.
    feature : ndarray of int16, shape (nodes,)
        Column that decides at a node; -1 at a leaf.
    number : ndarray of float32, shape (nodes,)
        At an inner node the threshold: up to it the first child is next, else the second one. At a leaf
        its vote, the part of the training set that is real there.

    Raises
    ------
    BadModel
        If the arrays are not a forest: every walk from a root must end at a leaf.
    """

    n_features: int
    roots: NDArray[np.int32]
    feature: NDArray[np.int16]
    number: NDArray[np.float32]

    def __post_init__(self) -> None:
        for name, kind in (("roots", np.int32), ("feature", np.int16), ("number", np.float32)):
            array = getattr(self, name)
            _require(array.ndim == 1 and array.dtype == kind, f"{name} of {array.dtype} {array.shape}")
        count, trees = self.feature.size, self.roots.size
        _require(0 < count <= MOST_NODES and 0 < trees <= MOST_TREES, f"{trees} trees of {count} nodes")
        _require(self.number.size == count, f"{self.number.size} numbers for {count} nodes")
        leaf = self.feature == -1
        _require(((self.feature >= 0) & (self.feature < self.n_features) | leaf).all(), "an unknown feature")
        _require(np.isfinite(self.number).all(), "a threshold that is no number")
        _require(((self.number >= 0) & (self.number <= 1))[leaf].all(), "a vote that is no part of one")
        self._require_trees()

    def _require_trees(self) -> None:
        """Trees have one leaf more than inner nodes, children follow their parents, and no walk is too long."""
        count, roots = self.feature.size, self.roots.astype(np.intp)
        in_order = roots[0] == 0 and (np.diff(roots) > 0).all() and roots[-1] < count
        _require(in_order, "roots that are in no order")
        inner = np.add.reduceat((self.feature >= 0).astype(np.intp), roots)
        _require((np.diff(np.append(roots, count)) == 2 * inner + 1).all(), "a tree without all its leaves")
        nodes = np.flatnonzero(self.feature >= 0)
        _require((self.children[nodes] > nodes).all(), "a child before its parent")
        level = roots
        for _ in range(DEEPEST):
            level = self.children[level[self.feature[level] >= 0]]
            level = np.concatenate([level, level + 1])
        _require(level.size == 0, f"a walk of more than {DEEPEST} steps")

    @cached_property
    def children(self) -> NDArray[np.intp]:
        """First of the two children of each inner node, shape (nodes,); without meaning at leaves."""
        inner = self.feature >= 0
        before: NDArray[np.intp] = np.cumsum(inner) - inner  # inner nodes of all trees
        sizes = np.diff(np.append(self.roots, inner.size))
        return np.asarray(np.repeat(self.roots - 2 * before[self.roots] + 1, sizes) + 2 * before, np.intp)

    def predict(self, features: Features) -> Values:
        """Return the mean of the trees' votes for real, from 0 to 1.

        Parameters
        ----------
        features : ndarray of float32, shape (n, n_features)

        Raises
        ------
        BadParameters
            If they have another shape, or are not finite.
        """
        features = np.asarray(features, np.float32)
        if features.ndim != 2 or features.shape[1] != self.n_features or not np.isfinite(features).all():
            raise BadParameters(
                f"a forest of {self.n_features} features cannot judge {features.shape} numbers"
            )
        step = max(1, _WALKS // self.roots.size)
        votes = [self._votes(features[start : start + step]) for start in range(0, len(features), step)]
        return np.concatenate([np.zeros(0), *votes])

    def _votes(self, features: Features) -> Values:
        """Walk with all samples through all trees at once."""
        node = np.tile(self.roots.astype(np.intp), len(features))
        row = np.repeat(np.arange(len(features)), self.roots.size)
        walking = np.arange(node.size)
        while walking.size:
            here = node[walking]
            inner = self.feature[here] >= 0
            walking, here = walking[inner], here[inner]
            second = features[row[walking], self.feature[here]] > self.number[here]
            node[walking] = self.children[here] + second
        votes = self.number[node].reshape(len(features), -1)
        return np.asarray(votes.mean(axis=1, dtype=np.float64))


def _require(right: Any, what: str) -> None:
    if not right:
        raise BadModel(f"these arrays are not a forest: {what}")


def grow_forest(
    features: Features, labels: NDArray[np.bool_], *, seed: int, trees: int, leaves: int
) -> Forest:
    """Train a forest with scikit-learn.

    Parameters
    ----------
    features : ndarray of float32, shape (n, k)
    labels : ndarray of bool, shape (n,)
        True for what is real; both kinds must occur, and weigh the same together.
    seed : int
    trees, leaves : int
        Number of trees, and of leaves of each at most.

    Returns
    -------
    Forest
    """
    from sklearn.ensemble import RandomForestClassifier

    classifier = RandomForestClassifier(
        n_estimators=trees,
        max_leaf_nodes=leaves,
        min_samples_leaf=_LEAF,
        max_features=_TRIED,
        class_weight="balanced",
        random_state=seed,
    )
    return forest_of(classifier.fit(features, labels))


def forest_of(classifier: Any) -> Forest:
    """Return the arrays of a fitted scikit-learn forest of the classes False and True: the same votes to 1e-7."""
    features, numbers = [], []
    for grown in classifier.estimators_:
        tree = grown.tree_
        order = _level_by_level(tree.children_left, tree.children_right)
        leaf = tree.children_left[order] < 0
        votes = tree.value[order, 0, 1] / tree.value[order, 0].sum(axis=1)
        features.append(np.where(leaf, -1, tree.feature[order]).astype(np.int16))
        numbers.append(np.where(leaf, votes.astype(np.float32), _rounded_down(tree.threshold[order])))
    roots = np.cumsum([0, *(part.size for part in features[:-1])]).astype(np.int32)
    return Forest(int(classifier.n_features_in_), roots, np.concatenate(features), np.concatenate(numbers))


def _level_by_level(first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the nodes of a tree from the root down, brothers side by side."""
    order, level = [], np.zeros(1, np.intp)
    while level.size:
        order.append(level)
        inner = level[first[level] >= 0]
        level = np.stack([first[inner], second[inner]], axis=1).ravel()
    return np.concatenate(order)


def _rounded_down(threshold: Values) -> NDArray[np.float32]:
    """Return the largest float32 not above each threshold: no float32 feature is judged differently."""
    rounded = threshold.astype(np.float32)
    lower: NDArray[np.float32] = np.nextafter(rounded, np.float32(-np.inf))
    return np.where(rounded.astype(np.float64) > threshold, lower, rounded)
