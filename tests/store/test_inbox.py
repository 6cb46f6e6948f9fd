"""What the watched folders hold, and when it is complete."""

from __future__ import annotations

import gzip
import os
import time
from pathlib import Path

import pytest

from toros.store.inbox import (
    QUIET_SECONDS,
    FoundFile,
    WatchedFolder,
    is_temporary,
    look_at,
    rest_needed,
    scan,
)

SETTLE, PATIENCE = 5.0, 60.0
HEADER = b"".join(
    card.ljust(80)
    for card in (
        b"SIMPLE  =                    T",
        b"BITPIX  =                   16",
        b"NAXIS   =                    2",
        b"NAXIS1  =                   40",
        b"NAXIS2  =                   36",
        b"END",
    )
).ljust(2880)
FRAME = HEADER + bytes(range(1, 241)) * 12


def names(files: list[FoundFile]) -> list[str]:
    return sorted(file.path.name for file in files)


class Night:
    """A watched folder, and a clock that goes as fast as we want."""

    def __init__(self, folder: Path, announced: str = "") -> None:
        self.now = 1000.0
        self.folder = folder
        self.inbox = WatchedFolder(
            folder, settle_seconds=SETTLE, patience_seconds=PATIENCE, announced=announced
        )

    def look(self, *, after: float = 0.0) -> list[str]:
        """Scan everything some seconds later; the names of what has become complete."""
        self.now += after
        self.inbox.rescan(self.now, wall_time=time.time())
        return names(self.inbox.newly_complete(self.now))


def put(path: Path, content: bytes = FRAME) -> Path:
    """Leave a file that has not changed for years."""
    path.write_bytes(content)
    os.utime(path, (1e9, 1e9))
    return path


@pytest.fixture
def night(tmp_path: Path) -> Night:
    """A night under way: what lay in the folder before has been handed out."""
    night = Night(tmp_path / "inbox")
    night.folder.mkdir()
    put(night.folder / "yesterday.fits")
    assert night.look() == ["yesterday.fits"]
    return night


# ------------------------------------------------------------------------------------------------ scan


def test_a_scan_finds_every_file_below_the_folders(tmp_path: Path) -> None:
    for name in ("a/bias_01.fits", "a/2026-11-20/m31.fit.gz", "b/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(FRAME)

    found = list(scan([tmp_path / "a", tmp_path / "b"]))

    assert names(found) == ["bias_01.fits", "m31.fit.gz", "notes.txt"]
    assert {file.size for file in found} == {len(FRAME)}
    assert all(file.mtime_ns == file.path.stat().st_mtime_ns for file in found)


@pytest.mark.parametrize(
    "name", [".hidden.fits", ".m31.fits.Xy12ab", "m31.fits.part", "M31.FITS.TMP", "m31.fits~", "~$m31.fits"]
)
def test_hidden_and_temporary_names_are_passed_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FRAME)
    (tmp_path / "m31.fits").write_bytes(FRAME)

    assert is_temporary(name)
    assert names(list(scan([tmp_path]))) == ["m31.fits"]


def test_hidden_folders_are_not_entered(tmp_path: Path) -> None:
    (tmp_path / ".snapshots").mkdir()
    (tmp_path / ".snapshots" / "m31.fits").write_bytes(FRAME)

    assert list(scan([tmp_path])) == []


def test_a_link_to_another_disk_is_followed_and_a_circle_of_links_ends(tmp_path: Path) -> None:
    inbox, disk = tmp_path / "inbox", tmp_path / "disk"
    inbox.mkdir()
    disk.mkdir()
    (disk / "m31.fits").write_bytes(FRAME)
    (inbox / "camera").symlink_to(disk)
    (disk / "back").symlink_to(inbox)
    (disk / "itself").symlink_to(disk / "itself")
    (disk / "nowhere").symlink_to(tmp_path / "missing")

    errors: list[OSError] = []
    assert names(list(scan([inbox], on_error=errors.append))) == ["m31.fits"]


def test_a_file_of_two_overlapping_folders_is_found_once(tmp_path: Path) -> None:
    (tmp_path / "camera").mkdir()
    (tmp_path / "camera" / "m31.fits").write_bytes(FRAME)

    assert len(list(scan([tmp_path, tmp_path / "camera"]))) == 1


def test_names_that_are_not_utf8_are_found(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"nube\xf1a.fits")).write_bytes(FRAME)

    (found,) = scan([tmp_path])
    assert os.fsencode(found.path.name) == b"nube\xf1a.fits"


def test_a_folder_that_cannot_be_read_is_reported_and_the_others_are_scanned(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "m31.fits").write_bytes(FRAME)
    (tmp_path / "file").write_bytes(b"")
    errors: list[OSError] = []

    found = scan([tmp_path / "missing", tmp_path / "file", tmp_path / "good"], on_error=errors.append)

    assert names(list(found)) == ["m31.fits"]
    assert [Path(error.filename).name for error in errors] == ["file", "missing"]


def test_a_file_that_vanishes_during_the_scan_is_left_out(tmp_path: Path) -> None:
    for n in range(50):
        (tmp_path / f"frame_{n:02d}.fits").write_bytes(FRAME)
    walk = scan([tmp_path])
    first = next(walk)
    for path in tmp_path.iterdir():
        path.unlink()

    assert {first, *walk} == {first}


def test_only_regular_files_are_frames(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert list(scan([tmp_path])) == []
    assert look_at(tmp_path / "pipe") is None
    assert look_at(tmp_path / "missing") is None


# --------------------------------------------------------------------------------------- completeness


@pytest.mark.parametrize(
    ("content", "rest"),
    [
        pytest.param(FRAME, QUIET_SECONDS, id="whole FITS"),
        pytest.param(FRAME[:4000], PATIENCE, id="FITS without its last rows"),
        pytest.param(HEADER[:1000], PATIENCE, id="half a header"),
        pytest.param(b"", PATIENCE, id="empty"),
        pytest.param(gzip.compress(FRAME), SETTLE, id="compressed"),
        pytest.param(b"seeing 1.8 arcsec", SETTLE, id="not FITS"),
    ],
)
def test_how_long_a_file_must_rest_depends_on_what_its_header_promises(
    tmp_path: Path, content: bytes, rest: float
) -> None:
    (tmp_path / "frame").write_bytes(content)
    file = look_at(tmp_path / "frame")

    assert file is not None
    assert rest_needed(file, settle_seconds=SETTLE, patience_seconds=PATIENCE) == rest


def test_a_file_with_holes_may_be_waiting_for_its_pixels(tmp_path: Path) -> None:
    path = tmp_path / "m31.fits"
    path.write_bytes(HEADER)
    os.truncate(path, 2880 + 2880 * 400)
    file = look_at(path)

    assert file is not None
    assert file.sparse
    assert rest_needed(file, settle_seconds=SETTLE, patience_seconds=PATIENCE) == SETTLE


# -------------------------------------------------------------------------------------- watched folder


def test_a_whole_frame_is_handed_out_once_after_a_moment_of_rest(night: Night) -> None:
    (night.folder / "m31.fits").write_bytes(FRAME)
    night.inbox.notice([night.folder / "m31.fits"], night.now)

    assert names(night.inbox.newly_complete(night.now)) == []
    assert night.inbox.next_look() == pytest.approx(night.now + QUIET_SECONDS)
    assert names(night.inbox.newly_complete(night.now + QUIET_SECONDS)) == ["m31.fits"]
    assert night.look(after=100) == []


def test_a_growing_frame_is_handed_out_when_it_is_whole(night: Night) -> None:
    path = night.folder / "m31.fits"
    for length in range(0, len(FRAME), 500):
        path.write_bytes(FRAME[:length])
        assert night.look(after=10) == []

    path.write_bytes(FRAME)
    assert night.look() == []
    assert night.look(after=QUIET_SECONDS) == ["m31.fits"]


def test_a_compressed_frame_is_complete_when_it_has_not_changed_for_a_while(night: Night) -> None:
    packed, path = gzip.compress(FRAME), night.folder / "m31.fits.gz"
    path.write_bytes(packed[:100])
    assert night.look() == []
    assert night.look(after=SETTLE - 1) == []
    path.write_bytes(packed)
    assert night.look(after=1.5) == []
    assert night.look(after=SETTLE - 1) == []
    assert night.look(after=1) == ["m31.fits.gz"]


def test_a_frame_that_stays_short_is_given_up_on_and_its_whole_copy_is_new(night: Night) -> None:
    path = night.folder / "m31.fits"
    path.write_bytes(FRAME[:4000])
    assert night.look() == []
    assert night.look(after=PATIENCE - 1) == []
    assert night.look(after=1) == ["m31.fits"]

    path.write_bytes(FRAME)
    assert night.look() == []
    assert night.look(after=QUIET_SECONDS) == ["m31.fits"]


def test_a_frame_that_is_written_anew_is_handed_out_again(night: Night) -> None:
    (night.folder / "yesterday.fits").write_bytes(FRAME[:-240] + bytes(240))
    assert night.look() == []
    assert night.look(after=1) == ["yesterday.fits"]


def test_a_frame_that_is_gone_before_it_was_complete_is_never_handed_out(night: Night) -> None:
    path = night.folder / "m31.fits"
    path.write_bytes(FRAME)
    night.inbox.notice([path], night.now)
    path.unlink()

    assert (
        names(night.inbox.newly_complete(night.now + 10)) == ["first.fits"] or night.inbox.next_look() > 1e9
    )


def test_frames_of_a_folder_that_was_moved_in_are_noticed_with_the_folder(
    night: Night, tmp_path: Path
) -> None:
    (tmp_path / "2026-11-20").mkdir()
    (tmp_path / "2026-11-20" / "m31.fits").write_bytes(FRAME)
    (tmp_path / "2026-11-20").rename(night.folder / "2026-11-20")

    night.inbox.notice([night.folder / "2026-11-20"], night.now)
    assert names(night.inbox.newly_complete(night.now + 1)) == ["m31.fits"]


def test_a_notice_about_hidden_or_foreign_files_is_not_heeded(night: Night, tmp_path: Path) -> None:
    (night.folder / ".cache").mkdir()
    hidden, foreign = night.folder / ".cache" / "m31.fits", tmp_path / "elsewhere.fits"
    for path in (hidden, foreign):
        path.write_bytes(FRAME)

    night.inbox.notice([hidden, foreign], night.now)
    assert night.inbox.newly_complete(night.now + 1000) == []


# -------------------------------------------------------------------------------- restarts and unmounts


@pytest.fixture
def old_frames(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    put(folder / "m31.fits")
    put(folder / "m33.fits.gz", gzip.compress(FRAME))
    put(folder / "short.fits", FRAME[:3000])
    return folder


def test_frames_that_lay_there_before_need_no_rest(old_frames: Path) -> None:
    assert Night(old_frames).look() == ["m31.fits", "m33.fits.gz", "short.fits"]


def test_after_a_restart_the_same_frames_are_not_handed_out_again(old_frames: Path) -> None:
    night = Night(old_frames)
    night.look()

    later = Night(old_frames, announced=night.inbox.digest)
    assert later.look() == []
    assert later.look(after=1000) == []
    assert later.inbox.digest == night.inbox.digest

    (old_frames / "new.fits").write_bytes(FRAME)
    assert later.look() == []
    assert later.look(after=1) == ["new.fits"]


@pytest.mark.parametrize("name", ["new.fits", "m31.fits"])
def test_what_came_or_changed_while_nobody_watched_is_handed_out(old_frames: Path, name: str) -> None:
    night = Night(old_frames)
    night.look()
    put(old_frames / name, FRAME + bytes(2880))

    assert name in Night(old_frames, announced=night.inbox.digest).look()


def test_a_disk_that_is_mounted_after_the_restart_is_known(old_frames: Path, tmp_path: Path) -> None:
    night = Night(old_frames)
    night.look()
    old_frames.rename(tmp_path / "unplugged")
    old_frames.mkdir()

    later = Night(old_frames, announced=night.inbox.digest)
    assert later.look() == []
    assert later.inbox.digest == night.inbox.digest
    old_frames.rmdir()
    (tmp_path / "unplugged").rename(old_frames)
    assert later.look(after=10) == []
    assert later.look(after=100) == []


def test_a_folder_that_does_not_exist_yet_is_reported_and_watched_when_it_appears(tmp_path: Path) -> None:
    night = Night(tmp_path / "later")
    assert night.look() == []
    assert [type(error) for error in night.inbox.errors] == [FileNotFoundError]

    night.folder.mkdir()
    put(night.folder / "m31.fits")
    assert night.look(after=5) == ["m31.fits"]
    assert night.inbox.errors == []


@pytest.mark.parametrize("left_behind", ["nothing", "an empty mount point"])
def test_frames_of_a_disk_that_was_unmounted_are_known_when_it_comes_back(
    night: Night, tmp_path: Path, left_behind: str
) -> None:
    digest = night.inbox.digest

    night.folder.rename(tmp_path / "unplugged")
    if left_behind == "an empty mount point":
        night.folder.mkdir()
    for _ in range(3):
        assert night.look(after=10) == []
    assert night.inbox.digest == digest

    if left_behind == "an empty mount point":
        night.folder.rmdir()
    (tmp_path / "unplugged").rename(night.folder)
    assert night.look(after=10) == []
    assert night.look(after=100) == []


def test_frames_that_were_cleared_away_are_forgotten(night: Night) -> None:
    (night.folder / "yesterday.fits").unlink()
    assert night.look(after=1) == []
    assert night.inbox.digest == ""


def test_the_digest_does_not_depend_on_the_order_of_arrival(tmp_path: Path) -> None:
    digests = set()
    for order in (("a", "b"), ("b", "a")):
        folder = tmp_path / "".join(order)
        folder.mkdir()
        night = Night(folder)
        for name in order:
            put(folder / name)
            night.look()
            night.look(after=1)
        digests.add(night.inbox.digest)

    assert len(digests) == 1
