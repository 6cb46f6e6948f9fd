"""Files appear under their final name completely or not at all, and never in the place of another one."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toros.errors import DiskFull, FileMissing, Misconfigured, StorageUnavailable
from toros.store.store import StagedFile, Store

NIGHT = dt.date(2026, 11, 20)


def staged(store: Store, run_id: int, name: str, content: bytes = b"light") -> StagedFile:
    path = store.staging(run_id) / name
    path.write_bytes(content)
    return StagedFile(path, PurePosixPath(f"{NIGHT}/raw/{name}"))


def test_published_files_have_their_names_and_are_read_only(store: Store) -> None:
    published = store.publish(1, [staged(store, 1, "a.fits"), staged(store, 1, "b.fits", b"more light")])

    assert list(store.files()) == [f"{NIGHT}/raw/a.fits", f"{NIGHT}/raw/b.fits"]
    for file, content in zip(published, (b"light", b"more light"), strict=True):
        path = store.path(file.path)
        assert path.read_bytes() == content
        assert stat.S_IMODE(path.stat().st_mode) == 0o444
        assert (file.size, file.checksum) == (len(content), hashlib.sha256(content).hexdigest())


def test_the_manifest_names_what_is_published_until_the_run_is_cleared(store: Store) -> None:
    store.publish(1, [staged(store, 1, "a.fits")])
    assert store.staged_runs() == [1]

    store.clear(1)

    assert store.staged_runs() == []
    assert list(store.files()) == [f"{NIGHT}/raw/a.fits"]
    store.clear(1)


def test_what_a_run_left_can_be_discarded_except_what_is_recorded(store: Store) -> None:
    store.publish(1, [staged(store, 1, "a.fits"), staged(store, 1, "b.fits")])
    staged(store, 1, "c.fits")

    store.discard(1, keep=[f"{NIGHT}/raw/a.fits"])

    assert list(store.files()) == [f"{NIGHT}/raw/a.fits"]
    assert store.staged_runs() == []
    store.discard(1)
    assert list(store.files()) == [f"{NIGHT}/raw/a.fits"]


def test_what_a_run_published_is_found_even_without_its_manifest(store: Store) -> None:
    store.publish(1, [staged(store, 1, "a.fits")])
    store.clear(1)

    store.discard(1, published=[f"{NIGHT}/raw/a.fits"])

    assert list(store.files()) == []


def test_a_manifest_that_was_cut_short_means_that_nothing_was_published(store: Store) -> None:
    (store.staging(1) / "manifest.json").write_text('["2026-11-')
    store.discard(1)
    assert store.staged_runs() == []


def test_a_file_that_is_there_already_is_never_replaced(store: Store) -> None:
    store.publish(1, [staged(store, 1, "a.fits", b"first light")])

    with pytest.raises(Misconfigured, match="data root of its own"):
        store.publish(2, [staged(store, 2, "b.fits"), staged(store, 2, "a.fits")])
    store.discard(2)

    assert list(store.files()) == [f"{NIGHT}/raw/a.fits"]
    assert store.path(f"{NIGHT}/raw/a.fits").read_bytes() == b"first light"


def test_a_file_that_the_camera_still_has_is_left_writable(store: Store, tmp_path: Path) -> None:
    original = tmp_path / "camera.fits"
    original.write_bytes(b"light")
    link = store.staging(1) / "a.fits"
    os.link(original, link)

    store.publish(1, [StagedFile(link, PurePosixPath(f"{NIGHT}/raw/a.fits"))])

    assert original.stat().st_mode & stat.S_IWUSR
    assert store.path(f"{NIGHT}/raw/a.fits").samefile(original)


def test_a_copy_has_the_content_and_the_checksum_of_its_source(store: Store, tmp_path: Path) -> None:
    content = os.urandom(5 * 1024 * 1024 + 7)  # more than one chunk
    (tmp_path / "frame.fits").write_bytes(content)
    copy = store.staging(1) / "copy"

    checksum = store.copy_in(tmp_path / "frame.fits", copy)

    assert copy.read_bytes() == content
    assert checksum == hashlib.sha256(content).hexdigest() == store.checksum(copy)


def test_folders_of_other_names_are_no_runs(store: Store) -> None:
    store.staging(12)
    for name in ("run_", "run_new", "lost+found"):
        (store.root / ".staging" / name).mkdir()
    assert store.staged_runs() == [12]


def test_only_the_folders_of_nights_hold_products(store: Store) -> None:
    for path in ("2026-11-20/raw/a.fits", "inbox/b.fits", "toros.db", "2026-11-20.old/raw/c.fits"):
        (store.root / path).parent.mkdir(parents=True, exist_ok=True)
        (store.root / path).write_bytes(b"light")
    assert list(store.files()) == ["2026-11-20/raw/a.fits"]
    assert list(Store(store.root / "nowhere").files()) == []


@given(stem=st.text(max_size=300), run_id=st.integers(1, 10**9))
def test_whatever_a_frame_is_called_its_product_has_a_plain_name_that_tells_its_run(
    stem: str, run_id: int
) -> None:
    store = Store(Path("/data"))

    path = store.product_path(NIGHT, "raw", stem, run_id, ".fit.gz")

    assert path.parts[:2] == ("2026-11-20", "raw")
    assert len(path.parts) == 3
    assert path.name.isascii()
    assert len(path.name) < 160
    assert not path.name.startswith(".")
    assert store.maker_of(str(path)) == run_id


@pytest.mark.parametrize("name", ["a.fits", "a_r12.fits", "r000001.fits", "a_r000001_b.fits"])
def test_other_names_tell_no_run(store: Store, name: str) -> None:
    assert store.maker_of(f"2026-11-20/raw/{name}") is None


# -------------------------------------------------------------------------------------- disks and their errors


def test_a_missing_source_is_missing(store: Store, tmp_path: Path) -> None:
    with pytest.raises(FileMissing, match=r"gone\.fits is not there"):
        store.copy_in(tmp_path / "gone.fits", store.staging(1) / "copy")


def test_a_source_that_cannot_be_read_is_unavailable(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="Is a directory"):
        store.copy_in(tmp_path, store.staging(1) / "copy")


def test_a_disk_that_takes_nothing_more_is_full(store: Store, tmp_path: Path) -> None:
    (tmp_path / "frame.fits").write_bytes(b"light")
    with pytest.raises(DiskFull, match="no space left") as full:
        store.copy_in(tmp_path / "frame.fits", Path("/dev/full"))
    assert isinstance(full.value, OSError)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 kB."""
    disk = tmp_path / "small"
    disk.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk],
        capture_output=True,
        text=True,
        check=False,
    )
    if mount.returncode:
        pytest.skip(f"a small disk cannot be mounted: {mount.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_copy_onto_a_full_disk_leaves_room_when_it_is_discarded(small_disk: Path, tmp_path: Path) -> None:
    store = Store(small_disk / "data")
    (tmp_path / "frame.fits").write_bytes(bytes(1_000_000))

    with pytest.raises(DiskFull):
        store.copy_in(tmp_path / "frame.fits", store.staging(1) / "copy")
    store.discard(1)

    (tmp_path / "frame.fits").write_bytes(bytes(100_000))
    copy = store.staging(2) / "copy"
    store.copy_in(tmp_path / "frame.fits", copy)
    store.publish(2, [StagedFile(copy, PurePosixPath(f"{NIGHT}/raw/frame.fits"))])
    assert store.path(f"{NIGHT}/raw/frame.fits").stat().st_size == 100_000
