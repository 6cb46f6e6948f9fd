"""The model that judges candidates: the one that the settings name, by default that of the package."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from toros.errors import BadModel
from toros.science.real_bogus import Model, load_model, shipped_model


@lru_cache(maxsize=4)
def read_real_bogus_model(path: Path | None = None) -> Model:
    """Read a model, once in a process; by default the one that is shipped.

    Raises
    ------
    BadModel
        The file is not there, or is no model.
    """
    if path is None:
        return shipped_model()
    try:
        return load_model(path.read_bytes())
    except OSError as error:
        raise BadModel(f"{path}: {error.strerror}") from error
    except BadModel as error:
        raise BadModel(f"{path}: {error.message}", advice=error.advice) from error
