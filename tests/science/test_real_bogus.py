from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from toros.errors import BadModel, BadParameters
from toros.science.candidate_features import FEATURE_NAMES
from toros.science.real_bogus import (
    Model,
    dump_model,
    evaluate,
    load_model,
    score,
    shipped_model,
    train,
)
from toros.science.roc import evaluate_probabilities
from toros.sim.difference_scenes import difference_scene, labelled_candidates, simulated_training_set

Set = tuple[np.ndarray, np.ndarray]


def learn(features: np.ndarray, labels: np.ndarray, seed: int = 1) -> Model:
    return train(features, labels, version="test-1", trained_on="2026-11-22", seed=seed)


@pytest.fixture(scope="module")
def seen() -> Set:
    return simulated_training_set(seed=11, scenes=20, shape=(384, 384))


@pytest.fixture(scope="module")
def unseen() -> Set:
    return simulated_training_set(seed=12, scenes=25, shape=(384, 384))


@pytest.fixture(scope="module")
def model(seen: Set) -> Model:
    return learn(*seen)


def test_the_shipped_model_misses_little_at_one_per_cent_of_false_alarms(unseen: Set) -> None:
    judged = evaluate(shipped_model(), *unseen)
    assert min(judged.n_real, judged.n_bogus) > 500
    assert judged.missed <= 0.045, "2.4 to 4.2 % in sets of thousands; the aim is 3 %"
    assert judged.auc > 0.99
    assert judged.calibration_error < 0.03


def test_the_threshold_of_the_shipped_model_holds_for_other_nights(unseen: Set) -> None:
    features, real = unseen
    passed = score(shipped_model(), features) >= shipped_model().threshold
    assert passed[real].mean() > 0.95
    assert passed[~real].mean() < 0.02


def test_a_small_set_makes_a_model_that_is_nearly_as_good(model: Model, unseen: Set) -> None:
    judged = evaluate(model, *unseen)
    assert judged.auc > 0.985
    assert judged.missed < 0.12
    assert judged.calibration_error < 0.05
    assert model.feature_names == FEATURE_NAMES


def test_training_again_makes_the_same_bytes(model: Model, seen: Set) -> None:
    assert dump_model(learn(*seen)) == dump_model(model)
    assert dump_model(learn(*seen, seed=2)) != dump_model(model)


def test_a_model_is_read_as_it_was_written(model: Model, unseen: Set) -> None:
    again = load_model(dump_model(model))
    np.testing.assert_array_equal(score(again, unseen[0]), score(model, unseen[0]))
    assert (again.version, again.trained_on, again.seed) == ("test-1", "2026-11-22", 1)
    assert (again.n_real, again.n_bogus, again.threshold) == (model.n_real, model.n_bogus, model.threshold)
    assert again.evaluation.missed == model.evaluation.missed
    assert dump_model(again) == dump_model(model)


def test_the_shipped_model_is_small() -> None:
    assert len(dump_model(shipped_model())) < 200_000
    assert shipped_model().version == "simulated-1"


def test_the_curve_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    labels = rng.random(4000) < 0.3
    probability = np.round(1 / (1 + np.exp(-rng.normal(2.0 * labels, 1.0))), 2)
    told = evaluate_probabilities(probability, labels)
    assert told.auc == pytest.approx(roc_auc_score(labels, probability), abs=1e-12)
    threshold = told.threshold_of_false_positives
    assert np.mean(probability[~labels] >= threshold) <= 0.01
    assert np.mean(probability[~labels] >= threshold - 0.01) > 0.01
    assert told.missed == pytest.approx(np.mean(probability[labels] < threshold))
    for fpr, tpr, limit in zip(told.fpr, told.tpr, told.threshold, strict=True):
        assert fpr == pytest.approx(np.mean(probability[~labels] >= limit))
        assert tpr == pytest.approx(np.mean(probability[labels] >= limit))


def test_honest_probabilities_have_no_calibration_error() -> None:
    rng = np.random.default_rng(2)
    probability = rng.random(50_000)
    labels = rng.random(50_000) < probability
    assert evaluate_probabilities(probability, labels).calibration_error < 0.01
    assert evaluate_probabilities(probability**3, labels).calibration_error > 0.2


def rewritten(model: Model, **changes: object) -> bytes:
    with np.load(io.BytesIO(dump_model(model))) as archive:
        arrays = {name: archive[name] for name in archive.files} | changes
    buffer = io.BytesIO()
    np.savez(buffer, **{name: array for name, array in arrays.items() if array is not None})
    return buffer.getvalue()


@pytest.mark.parametrize(
    "changes",
    [
        {"format": np.array(99)},
        {"format": None},
        {"feature_names": np.array(["snr", "colour"])},
        {"calibration": np.array([-1.0, 0.0])},
        {"calibration": np.array([1.0])},
        {"calibration": np.array([1.0, np.nan])},
        {"counts": np.array([1, 2])},
        {"curve": np.zeros((3, 5))},
        {"curve": np.zeros(3)},
        {"curve": np.array([[0, 1], [0, 1], [0.5, np.nan]])},
        {"figures": np.array([1.0])},
        {"number": np.zeros(3, np.float32)},
        {"roots": np.array(["a"])},
        {"roots": np.array([{"an": "object"}], object)},
    ],
    ids=str,
)
def test_a_file_that_was_tampered_with_is_refused(model: Model, changes: dict) -> None:
    with pytest.raises(BadModel):
        load_model(rewritten(model, **changes))


@pytest.mark.parametrize("content", [b"", b"not a model", b"PK\x05\x06" + 18 * b"\0"])
def test_what_is_no_model_is_refused(content: bytes) -> None:
    with pytest.raises(BadModel):
        load_model(content)


@pytest.mark.parametrize("part", [0.3, 0.9, 0.999])
def test_half_a_model_is_refused(model: Model, part: float) -> None:
    content = dump_model(model)
    with pytest.raises(BadModel, match="not a real/bogus model"):
        load_model(content[: int(part * len(content))])


def test_a_flipped_byte_is_noticed(model: Model) -> None:
    content = bytearray(dump_model(model))
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(BadModel):
        load_model(bytes(content))


def test_a_file_that_unpacks_to_gigabytes_is_not_unpacked() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("number.npy", bytes(40_000_000))
    with pytest.raises(BadModel, match="40000000 bytes"):
        load_model(buffer.getvalue())


def test_other_features_are_refused(model: Model, seen: Set) -> None:
    with pytest.raises(BadParameters, match="cannot judge"):
        score(model, seen[0][:, :-1])
    with pytest.raises(BadParameters, match="features for"):
        learn(seen[0][:, :-1], seen[1])


def test_nothing_is_learnt_from_one_kind(seen: Set) -> None:
    features, labels = seen
    with pytest.raises(BadParameters, match="too few"):
        learn(features[labels], labels[labels])
    with pytest.raises(BadParameters, match="real and bogus"):
        evaluate_probabilities(np.ones(3), np.ones(3, bool))


def test_scenes_are_what_they_say() -> None:
    scene = difference_scene(np.random.default_rng(5), shape=(384, 384), changes=30)
    candidates, features, real = labelled_candidates(scene)
    assert features.shape == (len(candidates), len(FEATURE_NAMES))
    assert 15 < real.sum() <= len(scene.changes)
    assert (scene.changes.flux < 0).any()
    np.testing.assert_allclose(scene.difference.data, scene.science.data - scene.reference.data)
    empty = scene.difference.data[scene.difference.mask == 0]
    assert np.median(np.abs(empty)) * 1.4826 == pytest.approx(scene.noise, rel=0.1)
    other = difference_scene(np.random.default_rng(5), shape=(384, 384), changes=30)
    np.testing.assert_array_equal(other.difference.data, scene.difference.data)
