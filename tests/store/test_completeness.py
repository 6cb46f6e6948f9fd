"""A growing file is told from a whole one by its headers alone."""

from __future__ import annotations

import gzip
import math
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from toros.store.completeness import is_whole


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    """The bytes of a file with three HDUs; for each, where its data end and where the next header starts."""
    path = tmp_path_factory.mktemp("frames") / "frame.fits"
    table = fits.BinTableHDU.from_columns([fits.Column("flux", "E", array=np.ones(100))])
    hdus = [fits.PrimaryHDU(np.ones((30, 40), np.uint16)), table, fits.ImageHDU(np.ones((7, 9), np.float32))]
    fits.HDUList(hdus).writeto(path)
    with fits.open(path) as opened:
        starts = [hdu.fileinfo()["datLoc"] for hdu in opened]
        headers = [hdu.fileinfo()["hdrLoc"] for hdu in opened[1:]]
    ends = [start + size for start, size in zip(starts, (30 * 40 * 2, 100 * 4, 7 * 9 * 4), strict=True)]
    return path.read_bytes(), list(zip(ends, [*headers, math.inf], strict=True))


@given(share=st.floats(0, 1))
def test_a_file_is_whole_when_the_data_of_all_its_hdus_have_arrived(frame, growing, share):
    content, spans = frame
    length = round(share * len(content))
    growing.write_bytes(content[:length])
    # Cut between two HDUs, nobody can know that more will come.
    assert is_whole(growing) is any(end <= length <= header for end, header in spans)


def test_the_first_letters_of_the_next_header_are_not_the_end(frame, growing):
    content, spans = frame
    for letters in range(1, 9):
        growing.write_bytes(content[: spans[0][1] + letters])
        assert is_whole(growing) is False


def test_the_padding_of_the_last_block_may_be_missing(frame, growing):
    content, spans = frame
    last_pixel = spans[-1][0]
    growing.write_bytes(content[:last_pixel])
    assert is_whole(growing) is True
    growing.write_bytes(content[: last_pixel - 1])
    assert is_whole(growing) is False


def test_what_follows_the_last_hdu_does_not_matter(frame, growing):
    growing.write_bytes(frame[0] + b"trailing dust")
    assert is_whole(growing) is True


@pytest.mark.parametrize("start", [b"", b"SIM", b"SIMPLE  =                    T"])
def test_a_file_that_has_hardly_begun_is_not_whole(start, growing):
    growing.write_bytes(start)
    assert is_whole(growing) is False


@pytest.mark.parametrize(
    "content",
    [
        b"name,ra,dec\n",
        gzip.compress(b"SIMPLE  =", mtime=0),
        b"SIMPLE  =                    T\nBITPIX  =                   16\nEND\n",
        fits.Header([("SIMPLE", False)]).tostring().encode(),
        fits.Header([("SIMPLE", True), ("BITPIX", 17), ("NAXIS", 0)]).tostring().encode(),
        fits.Header([("SIMPLE", True), ("BITPIX", 16), ("NAXIS", 1)]).tostring().encode(),
        b"SIMPLE  =                    T".ljust(2880) + bytes(range(128, 256)) * 100,
    ],
)
def test_of_other_files_nothing_is_said(content, growing):
    growing.write_bytes(content)
    assert is_whole(growing) is None


def test_a_file_that_is_not_there_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        is_whole(tmp_path / "gone.fits")


@pytest.mark.real_frames
def test_every_real_frame_is_whole_and_half_of_it_is_not(real_frames, growing):
    plain = [path for path in real_frames.rglob("*.fit*") if path.suffix in {".fit", ".fits", ".fz"}]
    assert len(plain) > 100
    for path in plain:
        assert is_whole(path) is True
    for path in real_frames.glob("t*/*.fit"):
        growing.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert is_whole(growing) is False


def test_no_array_package_is_loaded():
    program = "import sys, toros.store.completeness; print({'numpy', 'astropy'} & set(sys.modules))"
    output = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert output.stdout.strip() == "set()"


@pytest.fixture(scope="module")
def growing(tmp_path_factory):
    return tmp_path_factory.mktemp("inbox") / "growing.fits"
