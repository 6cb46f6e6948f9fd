from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from toros.errors import BadModel
from toros.science.real_bogus import dump_model, score, shipped_model
from toros.steps.real_bogus_model import read_real_bogus_model


def test_the_shipped_model_judges_where_no_other_is_named() -> None:
    assert read_real_bogus_model() is shipped_model()


def test_the_model_that_is_named_judges_and_is_read_once(tmp_path: Path) -> None:
    file = tmp_path / "own.npz"
    file.write_bytes(dump_model(replace(shipped_model(), version="own")))
    model = read_real_bogus_model(file)
    assert model.version == "own"
    features = np.zeros((3, len(model.feature_names)), np.float32)
    np.testing.assert_array_equal(score(model, features), score(shipped_model(), features))
    assert read_real_bogus_model(file) is model


@pytest.mark.parametrize("content", [None, b"", b"no model"], ids=["missing", "empty", "nonsense"])
def test_a_file_that_is_no_model_is_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "own.npz"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadModel, match=r"own\.npz"):
        read_real_bogus_model(file)
