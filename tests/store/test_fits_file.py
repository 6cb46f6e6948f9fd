"""FITS files of any make give their one image; what is wrong with the others is said; products can be read back."""

from __future__ import annotations

import bz2
import contextlib
import errno
import gzip
import io
import os
import shutil
import subprocess

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty
from hypothesis import given, settings
from hypothesis import strategies as st

from toros.errors import BadHeader, DiskFull, FileMissing, NoImage, NotFits, StorageUnavailable, Truncated
from toros.store.fits_file import FrameWriter, Plane, ccd_planes, inspect, read
from toros.store.unix_compress import expand

TYPES = ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]


def sky(dtype="uint16", shape=(23, 31)):
    values = np.random.default_rng(1).integers(0, 120, shape)
    return values.astype(dtype) if np.dtype(dtype).kind != "u" else (values * 2).astype(dtype)


def fits_bytes(*hdus):
    stream = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(stream)
    return stream.getvalue()


def tile_compressed(data, **options):
    return fits_bytes(fits.PrimaryHDU(), fits.CompImageHDU(data, name="SCI", **options))


@pytest.fixture
def saved(tmp_path):
    def save(content, name="frame.fits"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return save


# ----------------------------------------------------------------------------------------- finding, reading


@pytest.mark.parametrize("dtype", TYPES)
def test_pixels_of_every_type_come_back_in_native_order(dtype, saved):
    data = sky(dtype)
    image = inspect(saved(fits_bytes(fits.PrimaryHDU(data))))
    rows = image.rows()
    assert image.shape == rows.shape == data.shape
    for found in (rows[0:23], read(image.path)):
        assert found.dtype == image.dtype == data.dtype
        assert found.dtype.isnative
        np.testing.assert_array_equal(found, data)


@pytest.mark.parametrize(
    "pack",
    [
        lambda data: fits_bytes(fits.PrimaryHDU(data)),
        lambda data: gzip.compress(fits_bytes(fits.PrimaryHDU(data))),
        lambda data: bz2.compress(fits_bytes(fits.PrimaryHDU(data))),
        lambda data: unix_compress(fits_bytes(fits.PrimaryHDU(data))),
        tile_compressed,
        lambda data: gzip.compress(tile_compressed(data, compression_type="GZIP_1")),
        lambda data: fits_bytes(fits.PrimaryHDU(data[np.newaxis])),
        lambda data: fits_bytes(fits.PrimaryHDU(), fits.ImageHDU(data)),
        lambda data: fits_bytes(fits.PrimaryHDU(np.ones((3, 5, 5))), fits.ImageHDU(data, name="SCI")),
        lambda data: fits_bytes(fits.PrimaryHDU(np.ones((1, 9))), fits.ImageHDU(data)),
        lambda data: fits_bytes(fits.PrimaryHDU(data)).rstrip(b"\0"),
        lambda data: fits_bytes(fits.PrimaryHDU(data)) + b"trailing dust",
    ],
    ids=[
        "plain",
        "gzip",
        "bzip2",
        "compress",
        "tiles",
        "tiles-in-gzip",
        "plane",
        "extension",
        "after-cube",
        "after-spectrum",
        "unpadded",
        "dust",
    ],
)
def test_the_image_is_found_however_it_is_packed_and_whatever_its_name(pack, saved):
    data = sky() + np.uint16(1000)
    rows = inspect(saved(pack(data), "frame.dat")).rows()
    np.testing.assert_array_equal(rows[5:19], data[5:19])


@given(start=st.integers(0, 25), stop=st.integers(0, 25))
def test_rows_are_those_of_the_array(stored, start, stop):
    data, rows = stored
    np.testing.assert_array_equal(rows[start:stop], data[start:stop])


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_a_packed_frame_is_unpacked_to_disk_for_those_who_cannot_hold_it(pack, saved, tmp_path):
    data = sky()
    rows = inspect(saved(pack(fits_bytes(fits.PrimaryHDU(data))))).rows_on_disk(tmp_path / "scratch")
    assert (tmp_path / "scratch").stat().st_size >= data.nbytes
    np.testing.assert_array_equal(rows[3:20], data[3:20])


def test_a_plain_frame_is_on_disk_already(saved, tmp_path):
    rows = inspect(saved(fits_bytes(fits.PrimaryHDU(sky())))).rows_on_disk(tmp_path / "scratch")
    np.testing.assert_array_equal(rows[3:20], sky()[3:20])
    assert not (tmp_path / "scratch").exists()


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("frames") / "frame.fits"
    data = sky("int16")
    fits.PrimaryHDU(data).writeto(path)
    return data, inspect(path).rows()


@pytest.mark.parametrize("bitpix", [8, 16, 32, 64, -32, -64])
@pytest.mark.parametrize(
    "cards", [{"BSCALE": 0.5, "BZERO": 100.0}, {"BZERO": 32768.0}, {"BLANK": 7}], ids=str
)
def test_scaled_pixels_are_what_astropy_makes_of_them(bitpix, cards, saved):
    plain = fits.PrimaryHDU(
        sky({8: "uint8", 16: "int16", 32: "int32", 64: "int64", -32: "f4", -64: "f8"}[bitpix])
    )
    content = fits_bytes(plain)
    header = fits.Header.fromstring(content[:2880])
    if bitpix > 0 or "BLANK" not in cards:
        header.update(cards)
    path = saved(header.tostring().encode() + content[2880:])
    with fits.open(path) as hdus:
        expected = hdus[0].data
    found = read(path)
    assert found.dtype == expected.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, expected)


def test_the_first_image_is_taken_unless_another_is_named(saved):
    path = saved(fits_bytes(fits.PrimaryHDU(), *(fits.ImageHDU(sky() + i, name=f"IM{i}") for i in range(3))))
    assert inspect(path).hdu == 1
    assert inspect(path, "im2").hdu == 3
    np.testing.assert_array_equal(inspect(path, "IM2").rows()[0:2], (sky() + 2)[:2])
    with pytest.raises(NoImage, match="IM7"):
        inspect(path, "IM7")


def test_an_image_in_an_extension_inherits_the_cards_of_the_primary_header(saved):
    primary = fits.PrimaryHDU(header=fits.Header([("INSTRUME", "Azulcito"), ("FILTER", "R"), ("BZERO", 5.0)]))
    own = fits.ImageHDU(sky("float32"), header=fits.Header([("FILTER", "V")]), name="SCI")
    header = inspect(saved(fits_bytes(primary, own))).header
    assert (header["INSTRUME"], header["FILTER"], header["NAXIS"]) == ("Azulcito", "V", 2)
    assert "BZERO" not in header


def test_a_broken_card_does_not_spoil_the_others(saved):
    content = bytearray(
        fits_bytes(fits.PrimaryHDU(sky(), fits.Header([("EXPTIME", 1.5), ("OBJECT", "M 31")])))
    )
    start = content.index(b"EXPTIME ")
    content[start : start + 80] = b"EXPTIME =              6,4E-05 / decimal comma".ljust(80)
    header = inspect(saved(bytes(content))).header
    assert header["OBJECT"] == "M 31"
    assert header["EXPTIME"].strip() == "6,4E-05"


# -------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "content",
    [
        b"name,ra\n",
        b"\x00" * 10000,
        b"SIMPLE  =                    T\nNAXIS   = 0\n".ljust(2880),
        b"PK\x03\x04" * 99,
        fits.Header([("SIMPLE", False), ("BITPIX", 8), ("NAXIS", 0)]).tostring().encode(),
    ],
    ids=["table", "zeros", "header-text", "zip", "not-simple"],
)
def test_what_is_not_fits_is_refused(content, saved):
    with pytest.raises(NotFits, match=r"frame\.fits"):
        inspect(saved(content))


@pytest.mark.parametrize(
    "hdus",
    [
        [fits.PrimaryHDU()],
        [fits.PrimaryHDU(np.ones(100))],
        [fits.PrimaryHDU(np.ones((3, 40, 40)))],
        [fits.PrimaryHDU(np.ones((1, 1)))],
        [
            fits.PrimaryHDU(),
            fits.BinTableHDU.from_columns([fits.Column("flux", "E", array=np.ones(9))], name="CAT"),
        ],
    ],
    ids=["header", "spectrum", "cube", "pixel", "table"],
)
def test_a_file_without_image_says_what_it_holds(hdus, saved):
    with pytest.raises(NoImage, match=r"frame\.fits: not a two-dimensional image, only (a |an )"):
        inspect(saved(fits_bytes(*hdus)))


def test_a_truncated_file_says_how_long_it_should_be(saved):
    content = fits_bytes(fits.PrimaryHDU(np.ones((100, 100), np.uint16)))
    with pytest.raises(Truncated, match=r"is 12,340 bytes long; the header promises 23,040"):
        inspect(saved(content[:12340]))


@given(cut=st.floats(0, 0.999))
@pytest.mark.parametrize("kind", ["plain", "gzip", "bzip2", "tiles"])
def test_a_file_cut_anywhere_is_truncated(kind, cut, tmp_path_factory):
    data = sky(shape=(40, 72))  # fills its last block
    content = {
        "plain": lambda: fits_bytes(fits.PrimaryHDU(data)),
        "gzip": lambda: gzip.compress(fits_bytes(fits.PrimaryHDU(data)), mtime=0),
        "bzip2": lambda: bz2.compress(fits_bytes(fits.PrimaryHDU(data))),
        "tiles": lambda: unpadded(tile_compressed(data)),
    }[kind]()
    path = tmp_path_factory.getbasetemp() / f"cut-{kind}.fits"
    path.write_bytes(content[: max(5, int(cut * len(content)))])
    try:
        inspect(path)
    except Truncated:
        return
    except NoImage:
        # Only the header in front of the tiles has arrived, and nothing tells that more will come.
        assert kind == "tiles"
        assert path.stat().st_size == 2880
        return
    pytest.fail(f"{kind}: {path.stat().st_size} of {len(content)} bytes were taken for a whole file")


@settings(max_examples=40)
@given(position=st.floats(0, 0.999), value=st.integers(0, 255))
@pytest.mark.parametrize("kind", ["plain", "gzip", "tiles"])
def test_a_flipped_byte_never_ends_in_a_stranger(kind, position, value, tmp_path_factory):
    data = sky()
    whole = tile_compressed(data) if kind == "tiles" else fits_bytes(fits.PrimaryHDU(data))
    content = bytearray(gzip.compress(whole, mtime=0) if kind == "gzip" else whole)
    content[int(position * len(content))] = value
    path = tmp_path_factory.getbasetemp() / f"flipped-{kind}.fits"
    path.write_bytes(content)
    with contextlib.suppress(NotFits, Truncated, NoImage, BadHeader):
        read(path)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("BITPIX", "17"), ("NAXIS1", "-5"), ("NAXIS1", "many"), ("NAXIS", "two"), ("BZERO", "'high'")],
)
def test_a_header_that_does_not_describe_its_pixels_is_bad(keyword, value, saved):
    content = bytearray(fits_bytes(fits.PrimaryHDU(sky())))
    start = content.index(keyword.ljust(8).encode() + b"=")
    content[start : start + 80] = f"{keyword:8}= {value:>20}".ljust(80).encode()
    with pytest.raises(BadHeader, match=keyword if keyword != "NAXIS1" or value == "many" else "negative"):
        inspect(saved(bytes(content)))


def test_a_missing_file_may_still_come_and_a_folder_is_no_file(tmp_path):
    with pytest.raises(FileMissing):
        inspect(tmp_path / "gone.fits")
    with pytest.raises(StorageUnavailable):
        inspect(tmp_path)


def test_a_file_that_shrinks_while_it_is_read_is_truncated(saved):
    path = saved(fits_bytes(fits.PrimaryHDU(sky())))
    rows = inspect(path).rows()
    os.truncate(path, 3000)
    with pytest.raises(Truncated):
        rows[0:23]


# ---------------------------------------------------------------------------------------------- unix compress


@given(
    st.binary(max_size=3000) | st.lists(st.sampled_from(b"ab"), max_size=3000).map(bytes), st.integers(10, 16)
)
def test_what_compress_packed_comes_back(content, bits):
    assert expand(unix_compress(content, bits), "frame.fits.Z") == content


@pytest.mark.skipif(shutil.which("gzip") is None, reason="gzip is the judge of what compress writes")
@pytest.mark.parametrize("bits", [10, 12, 16])
def test_gzip_reads_the_same_out_of_it(bits):
    content = sky(shape=(100, 100)).tobytes()
    packed = unix_compress(content, bits)
    judged = subprocess.run(["gzip", "-dc"], input=packed, capture_output=True, check=True).stdout
    assert judged == expand(packed, "frame.fits.Z") == content


@pytest.mark.parametrize("content", [b"\x1f\x9d", b"\x1f\x9d\x1f", b"\x1f\x9d\x90\xff\xff\xff\xff"])
def test_a_damaged_compress_stream_is_truncated(content, saved):
    with pytest.raises(Truncated, match=r"frame\.fits"):
        inspect(saved(content))


# -------------------------------------------------------------------------------------------------- products


def test_a_product_written_by_tiles_is_read_back_by_ccddata(tmp_path):
    rng = np.random.default_rng(2)
    data, noise = rng.normal(100, 5, (50, 40)).astype("f4"), rng.uniform(1, 2, (50, 40)).astype("f4")
    mask = rng.integers(0, 3, (50, 40), dtype=np.uint8)
    header = fits.Header([("OBJECT", "M 31"), ("BITPIX", 16), ("BZERO", 32768), ("CHECKSUM", "old")])
    path = tmp_path / "master.fits"
    with FrameWriter(path, ccd_planes((50, 40), u.electron, header)) as writer:
        for start in (40, 0, 20, 10, 30):
            rows = slice(start, start + 10)
            writer.write("DATA", start, data[rows])
            writer.write("UNCERT", start, noise[rows])
            writer.write("MASK", start, mask[rows])
    ccd = CCDData.read(path)
    np.testing.assert_array_equal(ccd.data, data)
    np.testing.assert_array_equal(ccd.uncertainty.array, noise)
    np.testing.assert_array_equal(ccd.mask, mask > 0)
    assert isinstance(ccd.uncertainty, StdDevUncertainty)
    assert ccd.unit == u.electron
    assert ccd.header["OBJECT"] == "M 31"
    with fits.open(path) as hdus:
        hdus.verify("exception")
        np.testing.assert_array_equal(hdus["MASK"].data, mask)


@pytest.mark.parametrize("dtype", TYPES)
def test_a_plane_of_every_type_reads_the_same_by_astropy_and_by_us(dtype, tmp_path):
    path, data = tmp_path / "plane.fits", sky(dtype)
    with FrameWriter(path, [Plane("DATA", data.shape, dtype)]) as writer:
        writer.write("DATA", 0, data)
    assert fits.getdata(path).dtype.newbyteorder("=") == read(path).dtype == data.dtype
    np.testing.assert_array_equal(fits.getdata(path), data)
    np.testing.assert_array_equal(read(path), data)


def test_rows_can_be_read_back_while_others_are_still_to_be_written(tmp_path):
    data = sky("uint16", (20, 7))
    with FrameWriter(tmp_path / "master.fits", [Plane("DATA", data.shape, "uint16")]) as writer:
        writer.write("DATA", 8, data[8:])
        np.testing.assert_array_equal(writer.rows("DATA")[10:15], data[10:15])
        writer.write("DATA", 0, data[:8])


def test_what_was_written_is_left_as_it_was(tmp_path):
    data = sky("uint16")
    kept = data.copy()
    with FrameWriter(tmp_path / "plane.fits", [Plane("DATA", data.shape, "uint16")]) as writer:
        writer.write("DATA", 0, data)
    np.testing.assert_array_equal(data, kept)


def test_the_file_has_its_full_length_before_the_first_row(tmp_path):
    path = tmp_path / "master.fits"
    writer = FrameWriter(path, ccd_planes((1000, 1000), u.adu, fits.Header()))
    with pytest.raises(ValueError, match="row 0 of DATA"), writer:
        assert path.stat().st_size == 3 * 2880 + padded(4_000_000) * 2 + padded(1_000_000)


def test_a_row_that_was_forgotten_is_an_error(tmp_path):
    writer = FrameWriter(tmp_path / "a.fits", [Plane("DATA", (10, 4), "f4")])
    writer.write("DATA", 0, np.zeros((7, 4), "f4"))
    with pytest.raises(ValueError, match="row 7 of DATA"), writer:
        writer.write("DATA", 8, np.zeros((2, 4), "f4"))


@pytest.mark.parametrize(("start", "shape"), [(0, (3, 5)), (-1, (3, 4)), (8, (3, 4)), (0, (4,))])
def test_rows_that_do_not_fit_are_refused(start, shape, tmp_path):
    writer = FrameWriter(tmp_path / "a.fits", [Plane("DATA", (10, 4), "f4")])
    with pytest.raises(ValueError, match="does not fit"), writer:
        writer.write("DATA", start, np.zeros(shape, "f4"))


def test_pixels_that_would_lose_their_kind_are_refused(tmp_path):
    writer = FrameWriter(tmp_path / "a.fits", [Plane("DATA", (10, 4), "uint16")])
    with pytest.raises(TypeError), writer:
        writer.write("DATA", 0, np.zeros((10, 4), "f4"))


def test_a_file_is_never_written_over(tmp_path):
    (tmp_path / "a.fits").touch()
    with pytest.raises(StorageUnavailable):
        FrameWriter(tmp_path / "a.fits", [Plane("DATA", (10, 4), "f4")])


def test_a_full_disk_is_known_before_the_work_starts(tmp_path, monkeypatch):
    def no_space(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", no_space, raising=False)
    with pytest.raises(DiskFull):
        FrameWriter(tmp_path / "a.fits", [Plane("DATA", (10, 4), "f4")])


def test_a_file_system_that_cannot_reserve_is_good_enough(tmp_path, monkeypatch):
    def not_supported(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", not_supported, raising=False)
    with FrameWriter(tmp_path / "a.fits", [Plane("DATA", (10, 4), "f4")]) as writer:
        writer.write("DATA", 0, np.ones((10, 4), "f4"))
    assert (tmp_path / "a.fits").stat().st_size == 2 * 2880
    np.testing.assert_array_equal(read(tmp_path / "a.fits"), 1)


# --------------------------------------------------------------------------------------------- real frames


@pytest.mark.real_frames
def test_every_real_image_reads_as_astropy_reads_it(real_frames):
    seen = 0
    for folder in ("headers", "toros", "registration"):
        for path in (real_frames / folder).rglob("*.fit*"):
            if path.suffix not in {".fit", ".fits", ".fz", ".gz", ".bz2"}:
                continue
            try:
                image = inspect(path)
            except NoImage:
                continue
            with fits.open(path, memmap=False) as hdus:
                expected = np.squeeze(hdus[image.hdu].data)
            found = image.rows()[0 : image.shape[0]]
            assert found.dtype == image.dtype == expected.dtype.newbyteorder("=")
            np.testing.assert_array_equal(found, expected, err_msg=str(path))
            seen += 1
    assert seen > 60


@pytest.mark.real_frames
def test_a_real_compressed_file_holds_what_its_plain_twin_holds(real_frames):
    folder = real_frames / "headers/nomtam_fits"
    packed = expand((folder / "test.fits.Z").read_bytes(), "test.fits.Z")
    assert packed == gzip.decompress((folder / "test.fits.gz").read_bytes())
    assert inspect(folder / "rp600245n00_im1.fits.Z").shape == (512, 512)


# ------------------------------------------------------------------------------------------------- to build them


def padded(size):
    return -(-size // 2880) * 2880


def unpadded(content):
    """Cut off the padding behind the last HDU: without it the file is still whole."""
    with fits.open(io.BytesIO(content), disable_image_compression=True) as hdus:
        header, start = hdus[-1].header, hdus[-1].fileinfo()["datLoc"]
    return content[: start + header["NAXIS1"] * header["NAXIS2"] + header["PCOUNT"]]


def unix_compress(content, bits=16):
    """Pack as the Unix program does: codes in groups of eight, a fresh table (code 256) when it is full."""
    packed, pending, group, width = bytearray([0x1F, 0x9D, 0x80 | bits]), 0, 0, 9
    table, following, prefix = {}, 257, b""

    def flush(to_next_group):
        nonlocal pending, group
        size = 8 if to_next_group and group else group
        packed.extend(pending.to_bytes(-(-size * width // 8), "little"))
        pending = group = 0

    def emit(code):
        nonlocal pending, group
        pending |= code << group * width
        group += 1
        if group == 8:
            flush(to_next_group=True)

    for value in content:
        extended = prefix + bytes([value])
        if len(extended) == 1 or extended in table:
            prefix = extended
            continue
        emit(table.get(prefix, prefix[0]))
        if following < 1 << bits:
            table[extended] = following
            following += 1
            if following > 1 << width and width < bits:
                flush(to_next_group=True)
                width += 1
        else:
            emit(256)
            flush(to_next_group=True)
            table, following, width = {}, 257, 9
        prefix = bytes([value])
    if prefix:
        emit(table.get(prefix, prefix[0]))
    flush(to_next_group=False)
    return bytes(packed)
