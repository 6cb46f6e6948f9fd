from __future__ import annotations

import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree
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
    return simulated_training_set(seed=11, scenes=6, shape=(288, 288))


@pytest.fixture(scope="module")
def unseen() -> Set:
    return simulated_training_set(seed=12, scenes=12, shape=(384, 384))


@pytest.fixture(scope="module")
def model(seen: Set) -> Model:
    return learn(*seen)


def test_the_shipped_model_missed_little_of_what_was_held_out_of_its_training() -> None:
    held_out = shipped_model().evaluation
    assert min(held_out.n_real, held_out.n_bogus) > 1500
    assert held_out.missed <= 0.03
    assert held_out.auc > 0.995
    assert held_out.calibration_error < 0.02


def test_the_shipped_model_tells_real_from_bogus_in_scenes_of_another_seed(unseen: Set) -> None:
    judged = evaluate(shipped_model(), *unseen)
    assert judged.missed <= 0.05, "of some hundred; benchmarks.real_bogus asks for 0.03 of thousands"
    assert judged.auc > 0.99
    assert judged.calibration_error < 0.04


def test_the_threshold_of_the_shipped_model_holds_for_other_nights(unseen: Set) -> None:
    features, real = unseen
    passed = score(shipped_model(), features) >= shipped_model().threshold
    assert passed[real].mean() > 0.95
    assert passed[~real].mean() < 0.04, "of two hundred; benchmarks.real_bogus asks for 0.02 of thousands"


def test_a_small_set_makes_a_model_that_is_nearly_as_good(model: Model, unseen: Set) -> None:
    judged = evaluate(model, *unseen)
    assert judged.auc > 0.975
    assert judged.missed < 0.2
    assert judged.calibration_error < 0.1
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


def test_the_shipped_model_is_small_and_says_how_it_came_to_be() -> None:
    model = shipped_model()
    assert len(dump_model(model)) < 200_000
    assert (model.version, model.trained_on, model.seed) == ("simulated-1", "2026-11-22", 2026)


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


@pytest.mark.parametrize("matched", [False, True], ids=["subtracted", "matched"])
def test_scenes_are_what_they_say(matched: bool) -> None:
    scene, again = (
        difference_scene(np.random.default_rng(5), shape=(320, 320), changes=30, matched=matched)
        for _ in range(2)
    )
    candidates, features, real = labelled_candidates(scene)
    assert features.shape == (len(candidates), len(FEATURE_NAMES))
    assert 15 < real.sum() <= len(scene.changes)
    assert (scene.changes.flux < 0).any()
    if not matched:
        np.testing.assert_allclose(scene.difference.data, scene.science.data - scene.reference.data)
        empty = scene.difference.data[scene.difference.mask == 0]
        assert np.median(np.abs(empty)) * 1.4826 == pytest.approx(scene.noise, rel=0.1)
    np.testing.assert_array_equal(again.difference.data, scene.difference.data)


@pytest.mark.parametrize("matched", [False, True], ids=["subtracted", "matched"])
def test_changes_have_their_flux_in_the_difference(matched: bool) -> None:
    scene = difference_scene(np.random.default_rng(6), shape=(320, 320), changes=30, matched=matched)
    candidates, _, real = labelled_candidates(scene)
    found = candidates[real]
    tree = cKDTree(np.column_stack([scene.changes.x, scene.changes.y]))
    flux = scene.changes.flux[tree.query(np.column_stack([found["x"].value, found["y"].value]))[1]]
    assert len(found) > 10
    assert np.median(found["flux"].value / flux) == pytest.approx(1, abs=0.1)


def test_what_lies_beside_a_change_is_neither_real_nor_bogus() -> None:
    scene = difference_scene(np.random.default_rng(5), shape=(320, 320), changes=30)
    at_its_place = labelled_candidates(scene)
    beside = replace(scene, changes=replace(scene.changes, x=scene.changes.x + 1.1 * scene.psf.fwhm))
    far = replace(scene, changes=replace(scene.changes, x=scene.changes.x + 3 * scene.psf.fwhm))
    fainter = replace(scene, changes=replace(scene.changes, flux=scene.changes.flux / 4))
    bogus, real = (np.count_nonzero(kind) for kind in (~at_its_place[2], at_its_place[2]))
    for scene, others in ((beside, 0), (far, real), (fainter, 0)):
        _, _, labels = labelled_candidates(scene)
        assert labels.sum() <= 0.1 * real
        assert np.count_nonzero(~labels) == pytest.approx(bogus + others, abs=0.3 * real)
