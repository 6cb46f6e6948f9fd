"""How probable it is that a candidate is a real change on the sky.

A random forest votes on the features of a candidate, and a logistic curve that was fitted to candidates which the
forest had not seen makes the votes probabilities (Platt 1999). The model that comes with the package was trained on
simulated differences (`toros.sim.difference_scenes`)::

    features, labels = simulated_training_set(seed=2026, scenes=300)
    model = train(features, labels, version="simulated-1", trained_on="2026-11-22", seed=2026)
    Path("real_bogus_model.npz").write_bytes(dump_model(model))

Of the changes in simulated scenes of three other seeds, 17000 in all, it misses 1.3, 1.6 and 2.7 % where 1 % of the
bogus candidates pass. A model of the observatory's own, trained with the votes of its people, is the same kind of file.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toros.errors import BadModel, BadParameters
from toros.science.candidate_features import FEATURE_NAMES
from toros.science.forest import Forest, grow_forest
from toros.science.roc import Evaluation, evaluate_probabilities

Features = NDArray[np.float32]
Values = NDArray[np.float64]
Labels = NDArray[np.bool_]

FORMAT = 1
"""Of the file of a model."""

MOST_BYTES = 32_000_000
"""Of a model that is accepted, unpacked."""

_TREES = 100
_LEAVES = 200
_HELD_OUT = 0.25
_LEAST = 20
"""Real and bogus candidates without which there is no training."""

_LARGEST_LOGIT = 8.0
_NEWTON_STEPS = 50


@dataclass(frozen=True, eq=False)
class Model:
    """A classifier, and how it came to be.

    Parameters
    ----------
    version : str
        Name of the model; goes with every score.
    trained_on : str
        Date, as the caller gave it.
    seed : int
        Of the training.
    n_real, n_bogus : int
        Candidates it was trained with, those held out included.
    feature_names : tuple of str
        Columns it judges.
    forest : Forest
        Votes from 0 to 1.
    calibration : (float, float)
        Slope (positive) and intercept of the logit of the probability against that of the vote.
    evaluation : Evaluation
        With the candidates that were held out of the forest.
    """

    version: str
    trained_on: str
    seed: int
    n_real: int
    n_bogus: int
    feature_names: tuple[str, ...]
    forest: Forest
    calibration: tuple[float, float]
    evaluation: Evaluation

    @property
    def threshold(self) -> float:
        """Probability from which on a candidate is worth a look: 1 % of the bogus ones reach it."""
        return self.evaluation.threshold_of_false_positives


def score(model: Model, features: Features) -> Values:
    """Return the probability of being real of each candidate.

    Parameters
    ----------
    model : Model
    features : ndarray of float32, shape (n, k)
        As `candidate_features` returns them.

    Raises
    ------
    BadParameters
        If they are not the features of the model.
    """
    return _calibrated(model.forest.predict(features), model.calibration)


def train(features: Features, labels: Labels, *, version: str, trained_on: str, seed: int) -> Model:
    """Train a model.

    A quarter of the candidates is kept from the forest, and calibrates and evaluates it.

    Parameters
    ----------
    features : ndarray of float32, shape (n, k)
        As `candidate_features` returns them.
    labels : ndarray of bool, shape (n,)
        True for what is real.
    version, trained_on : str
        What the model is called, and the date: they are kept with it.
    seed : int
        The same candidates and seed make the same model.

    Returns
    -------
    Model

    Raises
    ------
    BadParameters
        If there are too few candidates of either kind, or they have not the right columns.
    """
    features, labels = np.asarray(features, np.float32), np.asarray(labels, np.bool_)
    if features.shape != (labels.size, len(FEATURE_NAMES)):
        raise BadParameters(
            f"{features.shape} features for {labels.size} labels of {len(FEATURE_NAMES)} features"
        )
    n_real = int(labels.sum())
    if min(n_real, labels.size - n_real) < _LEAST:
        raise BadParameters(
            f"{n_real} real and {labels.size - n_real} bogus candidates are too few to learn from"
        )
    held_out = _held_out(labels, np.random.default_rng(seed))
    forest = grow_forest(features[~held_out], labels[~held_out], seed=seed, trees=_TREES, leaves=_LEAVES)
    votes = forest.predict(features[held_out])
    calibration = _fit_logistic(_logit(votes), labels[held_out])
    evaluation = evaluate_probabilities(_calibrated(votes, calibration), labels[held_out])
    return Model(
        version,
        trained_on,
        seed,
        n_real,
        labels.size - n_real,
        FEATURE_NAMES,
        forest,
        calibration,
        evaluation,
    )


def evaluate(model: Model, features: Features, labels: Labels) -> Evaluation:
    """Find out how well a model does with candidates of known kind; both kinds must occur."""
    return evaluate_probabilities(score(model, features), np.asarray(labels, np.bool_))


@cache
def shipped_model() -> Model:
    """Return the model that comes with the package: a part of it, as its code is."""
    return load_model(files(__package__).joinpath("real_bogus_model.npz").read_bytes())


def dump_model(model: Model) -> bytes:
    """Return a model as the content of an .npz file; the same model makes the same bytes."""
    curve = model.evaluation
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        allow_pickle=False,
        format=np.array(FORMAT),
        version=np.array(model.version),
        trained_on=np.array(model.trained_on),
        counts=np.array([model.seed, model.n_real, model.n_bogus, curve.n_real, curve.n_bogus]),
        feature_names=np.array(model.feature_names),
        calibration=np.array(model.calibration),
        curve=np.stack([curve.fpr, curve.tpr, curve.threshold]),
        figures=np.array([curve.auc, curve.missed, curve.calibration_error]),
        roots=model.forest.roots,
        feature=model.forest.feature,
        number=model.forest.number,
    )
    return buffer.getvalue()


def load_model(content: bytes) -> Model:
    """Read a model, and trust nothing in it.

    Parameters
    ----------
    content : bytes
        Of a file that `dump_model` made.

    Raises
    ------
    BadModel
        If it is not a model, or not of this version's features.
    """
    try:
        arrays = _arrays_in(content)
        return _model_of(arrays)
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, EOFError, OSError) as error:
        raise BadModel(f"this is not a real/bogus model: {error}") from error


def _arrays_in(content: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays of an .npz file, none of which may hold objects or more than its size allows."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > MOST_BYTES:
        raise BadModel(f"a model of {unpacked} bytes is larger than any forest that is worth its time")
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _model_of(arrays: dict[str, NDArray[Any]]) -> Model:
    if int(arrays["format"]) != FORMAT:
        raise BadModel(f"a real/bogus model of format {int(arrays['format'])}; this version reads {FORMAT}")
    names = tuple(str(name) for name in arrays["feature_names"])
    if names != FEATURE_NAMES:
        raise BadModel(f"the model judges other features: {', '.join(names)}", advice="train it again")
    forest = Forest(len(names), arrays["roots"], arrays["feature"], arrays["number"])
    slope, intercept = arrays["calibration"].tolist()
    seed, n_real, n_bogus, *held_out = arrays["counts"].tolist()
    curve = np.asarray(arrays["curve"], np.float64)
    if not (slope > 0 and np.isfinite([slope, intercept]).all() and _is_curve(curve)):
        raise BadModel("the calibration or the curve of the model cannot be")
    auc, missed, calibration_error = arrays["figures"].tolist()
    evaluation = Evaluation(
        curve[0], curve[1], curve[2], auc, missed, calibration_error, held_out[0], held_out[1]
    )
    return Model(
        str(arrays["version"]),
        str(arrays["trained_on"]),
        seed,
        n_real,
        n_bogus,
        names,
        forest,
        (slope, intercept),
        evaluation,
    )


def _is_curve(curve: Values) -> bool:
    """Tell whether parts rise from 0 to 1 while the threshold falls."""
    if curve.ndim != 2 or len(curve) != 3 or curve.shape[1] < 2 or np.isnan(curve).any():
        return False
    rates, threshold = curve[:2], curve[2]
    ends = (rates[:, 0] == 0).all() and (rates[:, -1] == 1).all()
    return bool(ends and (np.diff(rates, axis=1) >= 0).all() and (np.diff(threshold) < 0).all())


def _held_out(labels: Labels, rng: np.random.Generator) -> Labels:
    """Choose a quarter of each kind."""
    held_out = np.zeros(labels.size, np.bool_)
    for kind in (True, False):
        members = np.flatnonzero(labels == kind)
        held_out[rng.permutation(members)[: round(_HELD_OUT * members.size)]] = True
    return held_out


def _logit(votes: Values) -> Values:
    votes = votes.clip(1e-4, 1 - 1e-4)
    return np.log(votes / (1 - votes))


def _calibrated(votes: Values, calibration: tuple[float, float]) -> Values:
    slope, intercept = calibration
    return np.asarray(1 / (1 + np.exp(-(slope * _logit(votes) + intercept))))


def _fit_logistic(logit: Values, labels: Labels) -> tuple[float, float]:
    """Fit slope and intercept of a logistic curve by Newton's method, with Platt's (1999) softened labels."""
    n_real = labels.sum()
    target = np.where(labels, (n_real + 1) / (n_real + 2), 1 / (labels.size - n_real + 2))
    terms = np.column_stack([logit, np.ones_like(logit)])
    solution = np.array([1.0, 0.0])
    for _ in range(_NEWTON_STEPS):
        expected = 1 / (1 + np.exp(-(terms @ solution)))
        gradient = terms.T @ (target - expected)
        curvature = (terms * (expected * (1 - expected))[:, np.newaxis]).T @ terms
        step = np.linalg.solve(curvature + 1e-9 * np.eye(2), gradient)
        solution = solution + step.clip(-1, 1)
        if np.abs(step).max() < 1e-10:
            break
    return max(float(solution[0]), 1e-3), float(solution[1].clip(-_LARGEST_LOGIT, _LARGEST_LOGIT))
