"""``toros realbogus``: the model in force, and one of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from the_command import Toros

from toros.science.real_bogus import shipped_model


def test_the_shipped_model_is_shown_with_what_it_is_worth(toros: Toros) -> None:
    told, model = toros("realbogus", "show", "--json").data, shipped_model()
    assert (told["version"], told["trained_on"], told["seed"]) == (
        model.version,
        model.trained_on,
        model.seed,
    )
    assert (told["real"], told["bogus"]) == (model.n_real, model.n_bogus)
    assert told["file"] == "shipped with the package"
    assert told["threshold"] == model.threshold
    assert told["missed_at_1_percent_false"] == model.evaluation.missed
    assert model.version in toros("realbogus", "show").out


def test_a_model_is_trained_once_and_then_in_force_where_it_is_named(
    toros: Toros, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "own-3.npz"
    trained = toros("realbogus", "train", file, "--seed", 7, "--scenes", 4, "--json")
    assert trained.data["version"] == "own-3"
    assert trained.data["seed"] == 7
    before = file.read_bytes()
    again = toros("realbogus", "train", file, "--scenes", 4)
    assert again.code != 0
    assert "another name" in again.err
    assert file.read_bytes() == before
    monkeypatch.setenv("TOROS_REAL_BOGUS_MODEL", str(file))
    assert toros("realbogus", "show", "--json").data == trained.data


def test_a_folder_that_is_not_there_takes_no_model(toros: Toros, tmp_path: Path) -> None:
    answer = toros("realbogus", "train", tmp_path / "nowhere" / "own.npz", "--scenes", 4)
    assert answer.code != 0
    assert "storage_unavailable" in answer.err


def test_a_model_that_is_none_is_named(toros: Toros, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "broken.npz"
    file.write_bytes(b"no model")
    monkeypatch.setenv("TOROS_REAL_BOGUS_MODEL", str(file))
    answer = toros("realbogus", "show")
    assert answer.code != 0
    assert "bad_model" in answer.err
    assert "broken.npz" in answer.err.replace("\n", "")
