"""Inner loops where the package, the home of the user, or both cannot be written to."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from toros.science.machine_code import keep_machine_code


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    """A folder that not even root can write to."""
    (tmp_path / "file").touch()
    return tmp_path / "file" / "folder"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("chosen", ["NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME"])
def test_a_folder_that_numba_finds_itself_is_left_to_it(chosen: str, nowhere: Path, tmp_path: Path) -> None:
    environment = {chosen: str(tmp_path)}
    keep_machine_code(nowhere, environment)
    assert environment == {chosen: str(tmp_path)}


def test_a_package_that_can_be_written_to_keeps_its_own_code(nowhere: Path, tmp_path: Path) -> None:
    environment = {"HOME": str(nowhere)}
    keep_machine_code(tmp_path, environment)
    assert environment == {"HOME": str(nowhere)}


@pytest.mark.parametrize("home", [{}, {"HOME": ""}, {"HOME": "nowhere"}])
def test_without_a_home_code_is_kept_in_a_private_folder(
    home: dict[str, str], nowhere: Path, temporary: Path
) -> None:
    environment = {name: value and str(nowhere) for name, value in home.items()}
    keep_machine_code(nowhere, environment)
    again: dict[str, str] = {}
    keep_machine_code(nowhere, again)
    folder = Path(environment["NUMBA_CACHE_DIR"])
    assert again["NUMBA_CACHE_DIR"] == str(folder)
    assert folder.parent == temporary
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_may_write_to_is_not_trusted(nowhere: Path, temporary: Path) -> None:
    open_to_all = temporary / f"toros-numba-{os.getuid()}"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    environment: dict[str, str] = {}
    keep_machine_code(nowhere, environment)
    assert environment["NUMBA_CACHE_DIR"] != str(open_to_all)


def test_without_any_folder_numba_is_left_alone(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(nowhere))
    environment: dict[str, str] = {}
    keep_machine_code(nowhere, environment)
    assert environment == {}


def test_numba_keeps_code_where_it_is_told_to(nowhere: Path, temporary: Path, tmp_path: Path) -> None:
    package = Path(sys.modules["toros"].__path__[0])
    environment = {"PYTHONPATH": str(package.parent), "HOME": str(nowhere), "TMPDIR": str(temporary)}
    code = f"""
import numpy as np, os
from pathlib import Path
from toros.science.machine_code import keep_machine_code
os.environ.pop("NUMBA_CACHE_DIR", None)
keep_machine_code(Path({str(nowhere)!r}), os.environ)
from toros.science.convolution_kernels import sum_blocks
sum_blocks(np.zeros((9, 9), np.float32), np.zeros((9, 9), np.float32))
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=tmp_path)
    assert list(temporary.glob("toros-numba-*/*/convolution_kernels.sum_blocks*.nbi"))
