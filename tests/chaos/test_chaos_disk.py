"""The disk fills up in the middle of the night: the night stops, says why, and goes on when there is room again."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from accounts import account_of, assert_nothing_is_lost
from sqlalchemy import select
from stormy_nights import frames_of_night, open_observatory, work, work_until_stuck

from toros.models import StepRun, utcnow
from toros.models.database import Database
from toros.steps.fsck import fsck
from toros.store.store import Store

pytestmark = pytest.mark.chaos


@dataclass(frozen=True)
class SmallDisk:
    """A disk of its own, whose size can be changed."""

    path: Path

    def resize(self, kilobytes: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", self.path], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk on which there is room for a part of the night."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2500k", "tmpfs", path],
        capture_output=True,
        text=True,
        check=False,
    )
    if mount.returncode:
        pytest.skip(f"only root may mount a small disk: {mount.stderr.strip()}")
    yield SmallDisk(path)
    subprocess.run(["umount", "--lazy", path], check=True)


@pytest.mark.parametrize("place", ["on another disk", "on the same disk"])
def test_a_night_stops_at_a_full_disk_and_goes_on_when_there_is_room(
    tmp_path: Path, disk: SmallDisk, place: str
) -> None:
    inbox = tmp_path / "inbox"
    undisturbed = open_observatory(tmp_path / "undisturbed", inbox=inbox)
    database = disk.path / "toros.db" if place == "on the same disk" else tmp_path / "toros.db"
    small = open_observatory(disk.path, inbox=inbox, database_url=f"sqlite:///{database}")
    for frame in frames_of_night(0, exposures=10):
        frame.write(inbox / frame.name)
    work(undisturbed)

    assert "disk_full" in work_until_stuck(small)

    report = fsck(Database(small.database_url), Store(small.data_root), small, utcnow(), heal=False)
    if place == "on another disk":
        assert report.ok
        with Database(small.database_url).read() as session:
            recorded = session.scalars(select(StepRun).where(StepRun.error_code == "disk_full")).all()
        assert {run.status for run in recorded} == {"failed"}
        assert all("free some space" in (run.error_message or "") for run in recorded)
    else:  # where the failure cannot be recorded either, it is found when there is room again
        assert set(report.found) <= {"F4_dead_run", "F4_staging_left", "F4_file_without_row"}

    disk.resize(20_000)
    work(small)
    assert_nothing_is_lost(small)
    assert account_of(small) == account_of(undisturbed)
