"""No room for a product: the item stays as it was, nothing is left behind, and with room again the step succeeds."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from small_steps import NIGHT, Make, check, last_run, new_stack, state_of, versions_of
from toros.errors import DiskFull
from toros.models import Stack
from toros.models.database import Database
from toros.steps.runner import Runner
from toros.steps.step import Work


class Big(Make):
    """Makes a product of 200 kB."""

    def write(self, result: bytes, work: Work) -> None:
        path = work.stage("stack", NIGHT, "big", ".txt")
        path.write_bytes(os.urandom(200_000))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    disk = tmp_path / "small"
    disk.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, text=True, check=False
    )
    if mount.returncode:
        pytest.skip(f"a small disk cannot be mounted: {mount.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def fill(disk: Path) -> Path:
    """Leave no room on a disk; return what takes it."""
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    return ballast


def test_a_step_that_finds_the_disk_full_changes_nothing_until_there_is_room(
    runner: Runner, small_disk: Path
) -> None:
    runner = replace(runner, settings=replace(runner.settings, data_root=small_disk / "data"))
    stack = new_stack(runner)
    ballast = fill(small_disk)

    with pytest.raises(DiskFull):
        runner.run(Big(), stack)

    assert state_of(runner, stack) == "stack_wanted"
    assert (last_run(runner).status, last_run(runner).error_code) == ("failed", "disk_full")
    assert list(runner.store.files()) == []
    assert check(runner, heal=False).ok
    ballast.unlink()
    assert runner.run(Big(), stack).state == "stacked"
    assert versions_of(runner, stack) == [1]
    assert check(runner).ok


def test_a_database_on_the_full_disk_loses_nothing_either(
    runner: Runner, small_disk: Path, sqlite_template: Path
) -> None:
    if not runner.database.is_sqlite:
        pytest.skip("a server's disk cannot be filled from here")
    file = small_disk / "toros.db"
    file.write_bytes(sqlite_template.read_bytes())
    runner = replace(
        runner,
        database=Database(f"sqlite:///{file}"),
        settings=replace(runner.settings, data_root=small_disk / "data", database_url=f"sqlite:///{file}"),
    )
    stack = new_stack(runner)
    filled: list[Path] = []

    class Filling(Big):
        def write(self, result: bytes, work: Work) -> None:
            filled.append(fill(small_disk))
            super().write(result, work)

    with pytest.raises(DiskFull):
        runner.run(Filling(), stack)

    filled[0].unlink()
    assert state_of(runner, stack) == "stack_wanted"
    assert runner.run(Big(), stack).state == "stacked"
    assert check(runner).ok
    with runner.database.read() as session:
        assert session.get_one(Stack, stack).state_count == 2
