from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from benchmarks.unit import Bench, UnitOfWork, peak_memory, read_fits, write_fits

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_the_plain_fits_of_the_unit_is_read_by_astropy(tmp_path: Path, dtype: type) -> None:
    image = np.random.default_rng(1).integers(0, 65536, (30, 50)).astype(dtype)
    write_fits(tmp_path / "plain.fits", image)
    np.testing.assert_array_equal(fits.getdata(tmp_path / "plain.fits"), image)
    if dtype is np.uint16:
        np.testing.assert_array_equal(read_fits(tmp_path / "plain.fits"), image)


def test_the_unit_takes_time(tmp_path: Path) -> None:
    assert UnitOfWork(Bench(tmp_path, 64))() > 0


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_the_meter_sees_the_memory_that_was_held_for_a_moment() -> None:
    with peak_memory() as peak:
        assert np.ones(4_000_000).sum() == 4_000_000
    assert peak.megabytes is not None
    assert 30 < peak.megabytes < 60


def test_the_table_of_one_subject_is_printed() -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "calibration"]
    table = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    [line] = [line for line in table.splitlines() if line.startswith("| calibrate one frame")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert float(cells[1]) > 0
    assert float(cells[5]) > 0
    assert cells[7] in {"ok", "NO"}


def test_a_subject_that_does_not_exist_is_named() -> None:
    command = [sys.executable, "-m", "benchmarks", "astrology"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no benchmark of astrology" in done.stderr
