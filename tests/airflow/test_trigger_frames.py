"""The trigger that watches folders: real folders, real file system events."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from airflow.triggers.base import BaseEventTrigger

from toros.store.completeness import is_whole
from toros.triggers import frames
from toros.triggers.frames import NewFramesTrigger

CARDS = (
    b"SIMPLE  =                    T",
    b"BITPIX  =                   16",
    b"NAXIS   =                    2",
    b"NAXIS1  =                  360",
    b"NAXIS2  =                  360",
    b"END",
)
FRAME = b"".join(card.ljust(80) for card in CARDS).ljust(2880) + bytes(range(240)) * 1080

LONG = 3600.0
"""Longer than any test: what is seen was not seen by a scan."""


class StateStore:
    """The asset's state store of the triggerer, without a triggerer: JSON values by key."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    async def aget(self, key: str, default: Any = None) -> Any:
        return json.loads(self.values[key]) if key in self.values else default

    async def aset(self, key: str, value: Any) -> None:
        self.values[key] = json.dumps(value)


class Watch:
    """A trigger at work, and the events it gave."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    @property
    def files(self) -> int:
        return sum(event["files"] for event in self.events)

    async def until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.01)

    async def nothing_happens(self, seconds: float = 0.8) -> None:
        before = list(self.events)
        await asyncio.sleep(seconds)
        assert self.events == before


@asynccontextmanager
async def watching(folder: Path, store: StateStore | None = None, **settings: Any) -> AsyncIterator[Watch]:
    path, kwargs = NewFramesTrigger(
        [str(folder)], **{"poll_seconds": LONG, "min_interval": 0.0, **settings}
    ).serialize()
    assert path == f"{NewFramesTrigger.__module__}.{NewFramesTrigger.__name__}"
    trigger = NewFramesTrigger(**json.loads(json.dumps(kwargs)))
    trigger.asset_state_store = store  # type: ignore[assignment]
    watch = Watch()

    async def follow() -> None:
        async with aclosing(trigger.run()) as events:  # type: ignore[type-var]
            async for event in events:
                watch.events.append(json.loads(json.dumps(event.payload)))

    task = asyncio.create_task(follow())
    # The first scan, and the watches of inotify.
    await asyncio.sleep(0.3)
    try:
        yield watch
    finally:
        assert not task.done(), task.exception()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def _remember_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "REMEMBER_AFTER_SECONDS", 0.0)


def put(path: Path, content: bytes = FRAME) -> Path:
    """Leave a file that has not changed for years."""
    path.write_bytes(content)
    os.utime(path, (1e9, 1e9))
    return path


def test_it_may_wake_a_dag_through_an_asset() -> None:
    assert issubclass(NewFramesTrigger, BaseEventTrigger)


async def test_a_frame_is_announced_without_a_scan(inbox: Path) -> None:
    async with watching(inbox) as watch:
        (inbox / "m31.fits").write_bytes(FRAME)
        await watch.until(lambda: watch.events != [])
        await watch.nothing_happens()

    assert watch.events == [{"files": 1, "newest": "m31.fits"}]


async def test_a_frame_in_a_folder_of_tonight_is_announced_without_a_scan(inbox: Path) -> None:
    async with watching(inbox) as watch:
        (inbox / "2026-11-20" / "flats").mkdir(parents=True)
        (inbox / "2026-11-20" / "flats" / "flat.fits").write_bytes(FRAME)
        await watch.until(lambda: watch.events != [])

    assert watch.events == [{"files": 1, "newest": "flat.fits"}]


async def test_without_file_system_events_the_scan_finds_the_frame(inbox: Path) -> None:
    async with watching(inbox, force_polling=True, poll_seconds=0.1) as watch:
        (inbox / "m31.fits").write_bytes(FRAME)
        await watch.until(lambda: watch.events != [])
        await watch.nothing_happens()

    assert watch.events == [{"files": 1, "newest": "m31.fits"}]


async def test_a_frame_that_is_written_slowly_is_announced_once_and_not_before_its_end(inbox: Path) -> None:
    async with watching(inbox) as watch:
        with (inbox / "m31.fits").open("wb") as stream:
            for start in range(0, len(FRAME), 40_000):
                assert watch.events == []
                stream.write(FRAME[start : start + 40_000])
                stream.flush()
                await asyncio.sleep(0.3)
        await watch.until(lambda: watch.events != [])
        await watch.nothing_happens()

    assert watch.files == 1


async def test_a_frame_that_is_renamed_when_it_is_complete_is_announced_by_its_name(inbox: Path) -> None:
    async with watching(inbox) as watch:
        (inbox / "m31.fits.part").write_bytes(FRAME)
        await watch.nothing_happens()
        (inbox / "m31.fits.part").rename(inbox / "m31.fits")
        await watch.until(lambda: watch.events != [])

    assert watch.events == [{"files": 1, "newest": "m31.fits"}]


async def test_a_frame_that_never_becomes_whole_is_announced_when_patience_ends(inbox: Path) -> None:
    async with watching(inbox, patience_seconds=1.5) as watch:
        (inbox / "m31.fits").write_bytes(FRAME[:9999])
        await watch.nothing_happens(0.8)
        await watch.until(lambda: watch.events != [])

    assert watch.files == 1


async def test_compressed_frames_settle(inbox: Path) -> None:
    async with watching(inbox, settle_seconds=0.5) as watch:
        (inbox / "m31.fits.gz").write_bytes(gzip.compress(FRAME, 1))
        await watch.until(lambda: watch.events != [])

    assert watch.events == [{"files": 1, "newest": "m31.fits.gz"}]


async def test_a_thousand_frames_at_once_are_few_events(inbox: Path) -> None:
    async with watching(inbox, min_interval=1.0) as watch:
        for number in range(1000):
            (inbox / f"frame_{number:04d}.fits").write_bytes(FRAME[:2880].replace(b"360", b"  0"))
        await watch.until(lambda: watch.files == 1000)

    assert len(watch.events) <= 4


async def test_names_that_are_not_utf8_can_be_announced(inbox: Path) -> None:
    async with watching(inbox, force_polling=True, poll_seconds=0.1) as watch:
        (inbox / os.fsdecode(b"nube\xf1a.fits")).write_bytes(FRAME)
        await watch.until(lambda: watch.events != [])

    assert watch.events == [{"files": 1, "newest": r"nube\xf1a.fits"}]


async def test_files_are_opened_outside_the_event_loop(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readers = set()

    def is_whole_and_who_asks(path: Path) -> bool | None:
        readers.add(threading.current_thread())
        return is_whole(path)

    monkeypatch.setattr("toros.store.inbox.is_whole", is_whole_and_who_asks)
    async with watching(inbox) as watch:
        (inbox / "m31.fits").write_bytes(FRAME)
        await watch.until(lambda: watch.files == 1)

    assert readers
    assert threading.current_thread() not in readers


# -------------------------------------------------------------------------------- restarts and unmounts


@pytest.mark.usefixtures("_remember_at_once")
async def test_a_restarted_trigger_announces_what_came_in_its_absence_and_nothing_else(inbox: Path) -> None:
    store = StateStore()
    put(inbox / "m31.fits")
    async with watching(inbox, store, poll_seconds=0.2) as watch:
        await watch.until(lambda: bool(store.values))
    assert watch.files == 1

    async with watching(inbox, store, poll_seconds=0.2) as watch:
        await watch.nothing_happens()
        assert watch.events == []

    put(inbox / "m33.fits")
    async with watching(inbox, store, poll_seconds=0.2) as watch:
        await watch.until(lambda: watch.events != [])


async def test_what_was_announced_a_moment_before_a_crash_is_announced_again(inbox: Path) -> None:
    store = StateStore()
    put(inbox / "m31.fits")
    async with watching(inbox, store, poll_seconds=0.2) as watch:
        await watch.until(lambda: watch.files == 1)
        await watch.nothing_happens()
    async with watching(inbox, store) as watch:
        await watch.until(lambda: watch.files == 1)


async def test_a_trigger_that_two_assets_share_works_without_a_memory(inbox: Path) -> None:
    class Ambiguous(StateStore):
        async def aget(self, key: str, default: Any = None) -> Any:
            raise ValueError("Task has 2 concrete inlets and outlets")

        async def aset(self, key: str, value: Any) -> None:
            raise ValueError("Task has 2 concrete inlets and outlets")

    async with watching(inbox, Ambiguous(), poll_seconds=0.1) as watch:
        (inbox / "m31.fits").write_bytes(FRAME)
        await watch.until(lambda: watch.files == 1)
        await watch.nothing_happens()


async def test_a_folder_that_is_made_later_is_watched_from_then_on(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    async with watching(folder, poll_seconds=0.2) as watch:
        folder.mkdir()
        (folder / "m31.fits").write_bytes(FRAME)
        await watch.until(lambda: watch.files == 1)


@pytest.mark.usefixtures("_remember_at_once")
async def test_a_disk_that_was_unmounted_and_comes_back_brings_only_its_new_frames(
    inbox: Path, tmp_path: Path
) -> None:
    put(inbox / "m31.fits")
    async with watching(inbox, StateStore(), poll_seconds=0.2) as watch:
        await watch.until(lambda: watch.files == 1)
        inbox.rename(tmp_path / "unplugged")
        inbox.mkdir()
        await watch.nothing_happens()
        shutil.rmtree(inbox)
        await watch.nothing_happens()
        (tmp_path / "unplugged").rename(inbox)
        await watch.nothing_happens()
        (inbox / "m33.fits").write_bytes(FRAME)
        await watch.until(lambda: watch.files == 2)

    assert watch.events[-1] == {"files": 1, "newest": "m33.fits"}


async def test_files_are_left_as_they_are(inbox: Path) -> None:
    path = put(inbox / "m31.fits")
    before = path.stat()
    async with watching(inbox) as watch:
        await watch.until(lambda: watch.files == 1)

    after = path.stat()
    assert (after.st_mtime_ns, after.st_ctime_ns) == (before.st_mtime_ns, before.st_ctime_ns)
    assert path.read_bytes() == FRAME
