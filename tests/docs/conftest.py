"""The whole reference, written once: the shipped one, whatever this machine's settings are."""

from __future__ import annotations

from pathlib import Path

import pytest

from toros.config import load_settings
from toros.docs.reference import write_reference


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the reference."""
    folder = tmp_path_factory.mktemp("reference")
    write_reference(folder, load_settings({}))
    return folder


@pytest.fixture(scope="session")
def reference(written: Path) -> dict[str, str]:
    """Every page by its name."""
    return {path.stem: path.read_text(encoding="utf-8") for path in written.iterdir()}
