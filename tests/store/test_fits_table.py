"""A table is the same after it was kept in a FITS file, and so are the stamps beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable

from toros.errors import BadHeader, FileMissing, NoImage, NotFits
from toros.store.fits_table import read_table, write_table
from toros.store.stamps import read_stamps

STAMPS = np.random.default_rng(2).normal(size=(4, 3, 9, 9)).astype(np.float32)
SOURCES = QTable(
    {
        "x": np.array([1.5, 2.25]) * u.pix,
        "flux": np.array([100.0, 3e5], np.float32) * u.electron,
        "noise": np.array([3.0, 4.0]) * u.electron**2,
        "flags": np.array([0, 129], np.int32),
        "is_star": np.array([True, False]),
        "score": np.array([0.5, np.nan]),
    }
)


def test_a_table_is_read_back_with_its_units_and_types(tmp_path: Path) -> None:
    path = tmp_path / "sources.fits"
    write_table(path, SOURCES, "SOURCES", fits.Header([("STEPRUN", 7)]))
    again = read_table(path, "SOURCES")
    assert again.colnames == SOURCES.colnames
    assert again.meta["STEPRUN"] == 7
    for name in SOURCES.colnames:
        assert again[name].unit == SOURCES[name].unit
        assert again[name].dtype == SOURCES[name].dtype
        assert again[name].dtype.isnative
        np.testing.assert_array_equal(again[name], SOURCES[name])


def test_other_programs_can_read_it(tmp_path: Path) -> None:
    write_table(tmp_path / "sources.fits", SOURCES, "SOURCES")
    rows = fits.getdata(tmp_path / "sources.fits", "SOURCES")
    assert rows["flux"].tolist() == SOURCES["flux"].value.tolist()


def test_an_empty_table_keeps_its_columns(tmp_path: Path) -> None:
    write_table(tmp_path / "none.fits", SOURCES[:0], "SOURCES")
    again = read_table(tmp_path / "none.fits", "SOURCES")
    assert (len(again), again.colnames, again["flux"].unit) == (0, SOURCES.colnames, u.electron)


def test_a_table_that_is_not_there_is_missed_by_name(tmp_path: Path) -> None:
    write_table(tmp_path / "sources.fits", SOURCES, "SOURCES")
    with pytest.raises(BadHeader, match="CANDIDATES"):
        read_table(tmp_path / "sources.fits", "CANDIDATES")


def test_what_follows_a_table_is_in_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "candidates.fits"
    write_table(path, SOURCES, "CANDIDATES", further=[fits.ImageHDU(STAMPS, name="STAMPS")])
    assert len(read_table(path, "CANDIDATES")) == 2
    for row in range(len(STAMPS)):
        np.testing.assert_array_equal(read_stamps(path, row), STAMPS[row])


@pytest.mark.parametrize("row", [-1, 4])
def test_stamps_beyond_the_last_are_refused(tmp_path: Path, row: int) -> None:
    write_table(tmp_path / "c.fits", SOURCES, "CANDIDATES", further=[fits.ImageHDU(STAMPS, name="STAMPS")])
    with pytest.raises(NoImage, match=f"no stamps of row {row}"):
        read_stamps(tmp_path / "c.fits", row)


def test_a_file_without_stamps_is_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "c.fits", SOURCES, "CANDIDATES")
    (tmp_path / "letter.fits").write_text("Dear colleague, ...")
    for path, error in (("c.fits", NoImage), ("letter.fits", NotFits), ("none.fits", FileMissing)):
        with pytest.raises(error):
            read_stamps(tmp_path / path, 0)
