"""A point-spread function is the same after it was kept in a FITS file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from toros.errors import BadHeader, FileMissing
from toros.science.psf import Psf, guess_psf
from toros.science.shapes import StarShape
from toros.store.psf_hdu import append_psf, psf_hdu, read_psf

SHAPE = (300, 400)


def measured() -> Psf:
    """Return one with everything: moments that change over the field, and a table."""
    rng = np.random.default_rng(5)
    moments = np.array([[3.1, 0.2, -0.1], [2.9, -0.05, 0.15], [0.3, 0.01, 0.02]])
    return Psf(SHAPE, 3.3, moments, 57, rng.normal(0, 1e-3, (25, 25)).astype(np.float32))


def kept(psf: Psf, path: Path) -> Psf:
    """Write it and read it back."""
    fits.HDUList([fits.PrimaryHDU(), psf_hdu(psf)]).writeto(path)
    return read_psf(path)


@pytest.mark.parametrize(
    "psf", [measured(), guess_psf(SHAPE, StarShape(3.0, 0.1, 20.0, 0))], ids=["measured", "guess"]
)
def test_it_is_read_back_as_it_was(psf: Psf, tmp_path: Path) -> None:
    again = kept(psf, tmp_path / "psf.fits")
    assert (again.shape, again.beta, again.n_stars) == (psf.shape, psf.beta, psf.n_stars)
    np.testing.assert_array_equal(again.moments, psf.moments)
    np.testing.assert_array_equal(again.table, psf.table)
    assert (again.moments.dtype, again.table.dtype) == (np.float64, np.float32)
    assert again.table.dtype.isnative


def test_stars_look_the_same_everywhere_in_the_field(tmp_path: Path) -> None:
    psf = measured()
    x, y = np.array([0.0, 199.5, 390.0]), np.array([10.0, 149.5, 299.0])
    assert kept(psf, tmp_path / "psf.fits").shape_at(x, y) == psf.shape_at(x, y)


def test_it_can_be_added_to_a_file_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "frame.fits"
    fits.PrimaryHDU(np.ones((3, 4), np.float32)).writeto(path)
    append_psf(path, measured())
    assert fits.getdata(path).shape == (3, 4)
    assert read_psf(path).n_stars == 57


def test_a_file_without_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "frame.fits"
    fits.PrimaryHDU(np.ones((3, 4), np.float32)).writeto(path)
    with pytest.raises(BadHeader, match=r"frame\.fits holds no point-spread function"):
        read_psf(path)


def test_one_that_lost_a_moment_is_refused(tmp_path: Path) -> None:
    hdu = psf_hdu(measured())
    del hdu.header["PSFM4"]
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "psf.fits")
    with pytest.raises(BadHeader, match="PSFM4"):
        read_psf(tmp_path / "psf.fits")


def test_nothing_can_be_added_where_there_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileMissing):
        append_psf(tmp_path / "nowhere" / "frame.fits", measured())
