"""The trigger that watches the folders where cameras write."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from airflow.sdk.exceptions import AirflowRuntimeError
from airflow.triggers.base import BaseEventTrigger, TriggerEvent
from watchfiles import Change, watch

from toros.store.inbox import FoundFile, WatchedFolder, identity_of

if TYPE_CHECKING:
    from pydantic import JsonValue

# It reports each batch of changes at level INFO: every frame of the night, in the triggerer's log.
logging.getLogger("watchfiles").setLevel(logging.WARNING)

# A batch of file events is handed on after so many quiet milliseconds, and after so many at the latest.
QUIET_MS, LATEST_MS = 50, 400

# The triggerer needs about a second to hand an event on; if it is killed earlier, the event is lost. So what
# was announced is written down later than that: rather announce twice than never.
REMEMBER_AFTER_SECONDS = 5.0

# Scans take at most this part of the time, however slow the file system is.
SCAN_SHARE = 0.1


class NewFramesTrigger(BaseEventTrigger):
    """Say that complete files wait in the watched folders. Never which: what is pending is a database query.

    Files are only looked at. Events of the file system (inotify) make it quick; a scan every `poll_seconds`
    makes it certain, also on network shares that send no events, and when a folder appears later, is
    unmounted or comes back. What was announced is kept, as one fingerprint per folder, in the state store of
    the watched asset: a restarted triggerer announces what came in its absence, and nothing else.

    Parameters
    ----------
    folders : sequence of str
        The watched folders, with all that is below them.
    settle_seconds : float
        A file whose completeness cannot be told from its header counts as complete after so much rest.
    patience_seconds : float
        A file shorter than its header promises is announced all the same after so much rest.
    poll_seconds : float
        How often everything is looked at, whatever the file system says.
    min_interval : float
        At least so many seconds lie between two events.
    force_polling : bool
        Do not listen to file system events at all.

    Notes
    -----
    The payload is ``{"files": 12, "newest": "m31_0042.fits"}``: how many became complete, and the last one.
    """

    def __init__(
        self,
        folders: Sequence[str],
        *,
        settle_seconds: float = 2.0,
        patience_seconds: float = 60.0,
        poll_seconds: float = 5.0,
        min_interval: float = 1.0,
        force_polling: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.folders = [str(Path(folder).absolute()) for folder in folders]
        self.settle_seconds = settle_seconds
        self.patience_seconds = patience_seconds
        self.poll_seconds = poll_seconds
        self.min_interval = min_interval
        self.force_polling = force_polling
        self._troubles: set[str] = set()

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Tell the triggerer how to make this trigger again."""
        return (
            "toros.triggers.frames.NewFramesTrigger",
            {
                "folders": self.folders,
                "settle_seconds": self.settle_seconds,
                "patience_seconds": self.patience_seconds,
                "poll_seconds": self.poll_seconds,
                "min_interval": self.min_interval,
                "force_polling": self.force_polling,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch for ever; yield one event for all files that became complete since the last one."""
        watched = await self._watched_folders()
        remembered = _digests(watched)
        ready: dict[Path, FoundFile] = {}
        next_scan = earliest_event = last_event = float("-inf")
        with _Listeners() as listeners:
            while True:
                now = time.monotonic()
                if now >= next_scan:
                    await asyncio.to_thread(self._look_around, watched, listeners, now)
                    next_scan = time.monotonic() + self._pause_after(time.monotonic() - now)
                paths = listeners.told()
                complete = await asyncio.to_thread(_newly_complete, watched, paths, time.monotonic())
                ready |= {file.path: file for file in complete}
                if ready and now >= earliest_event:
                    yield TriggerEvent(_payload(ready.values()))  # type: ignore[no-untyped-call]
                    ready.clear()
                    last_event = time.monotonic()
                    earliest_event = last_event + self.min_interval
                elif not ready and now >= last_event + REMEMBER_AFTER_SECONDS:
                    remembered = await self._remember(_digests(watched), remembered)
                await listeners.wait(
                    min(next_scan, _next_look(watched), earliest_event if ready else next_scan)
                )

    # -------------------------------------------------------------------------------------- looking around

    def _look_around(self, watched: Iterable[WatchedFolder], listeners: _Listeners, now: float) -> None:
        for folder in watched:
            if not self.force_polling:
                listeners.listen_to(folder.folder)
            folder.rescan(now, wall_time=time.time())
        self._report({str(e) for folder in watched for e in folder.errors} | listeners.troubles())

    def _pause_after(self, scan_seconds: float) -> float:
        return max(self.poll_seconds, scan_seconds * (1 / SCAN_SHARE - 1))

    def _report(self, troubles: set[str]) -> None:
        """Log each trouble when it begins and when it ends, not at every scan."""
        for trouble in sorted(troubles - self._troubles):
            self.log.warning("Cannot watch everything: %s", trouble)
        for trouble in sorted(self._troubles - troubles):
            self.log.info("No longer so: %s", trouble)
        self._troubles = troubles

    # --------------------------------------------------------------------------------- what was announced

    async def _watched_folders(self) -> list[WatchedFolder]:
        announced = await self._announced()
        return [
            WatchedFolder(
                Path(folder),
                settle_seconds=self.settle_seconds,
                patience_seconds=self.patience_seconds,
                announced=announced.get(folder, ""),
            )
            for folder in self.folders
        ]

    async def _announced(self) -> dict[str, str]:
        if self.asset_state_store is None:
            return {}
        try:
            return cast("dict[str, str]", await self.asset_state_store.aget("announced", default={}))
        except (AirflowRuntimeError, ValueError) as error:
            # ValueError: a trigger that two assets share has no state store of its own.
            self.log.warning("What was announced before is unknown, it is announced again: %s", error)
            return {}

    async def _remember(self, digests: dict[str, str], remembered: dict[str, str]) -> dict[str, str]:
        if digests == remembered or self.asset_state_store is None:
            return remembered
        try:
            await self.asset_state_store.aset("announced", cast("JsonValue", digests))
        except (AirflowRuntimeError, ValueError) as error:
            self.log.warning("What was announced cannot be kept, a restart announces it again: %s", error)
        return digests


class _Listeners:
    """The threads that listen to file system events, one per folder, and what they told."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._told: set[Path] = set()
        self._something_told = asyncio.Event()
        self._by_folder: dict[Path, _Listener] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for listener in self._by_folder.values():
            listener.stop()

    def listen_to(self, folder: Path) -> None:
        """Listen to that folder from now on; anew if another one has taken its place."""
        try:
            identity = identity_of(folder)
        except OSError:
            return
        listener = self._by_folder.get(folder)
        if listener is not None and listener.is_alive() and listener.identity == identity:
            return
        if listener is not None:
            listener.stop()
        self._by_folder[folder] = _Listener(folder, identity, self._tell)
        self._by_folder[folder].start()

    def troubles(self) -> set[str]:
        """Why folders cannot be listened to; they are scanned all the same."""
        return {str(listener.error) for listener in self._by_folder.values() if listener.error}

    def told(self) -> set[Path]:
        """Take what the listeners told since the last call."""
        paths, self._told = self._told, set()
        self._something_told.clear()
        return paths

    async def wait(self, until: float) -> None:
        """Wait until somebody tells something, or until that time of the monotonic clock."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                await self._something_told.wait()

    def _tell(self, paths: set[Path]) -> None:
        self._loop.call_soon_threadsafe(self._take_down, paths)

    def _take_down(self, paths: set[Path]) -> None:
        self._told |= paths
        self._something_told.set()


class _Listener(threading.Thread):
    """Listens to one folder.

    In a thread of its own, because to set the watches up means to walk through the whole tree.
    """

    def __init__(self, folder: Path, identity: tuple[int, int], tell: Callable[[set[Path]], None]) -> None:
        super().__init__(name=f"listening to {folder}", daemon=True)
        self.identity = identity
        self.error: Exception | None = None
        self._folder = folder
        self._tell = tell
        self._stopped = threading.Event()

    def run(self) -> None:
        changes_of = watch(
            self._folder,
            watch_filter=lambda change, _: change is not Change.deleted,
            step=QUIET_MS,
            debounce=LATEST_MS,
            rust_timeout=1000,
            stop_event=self._stopped,
            raise_interrupt=False,
            force_polling=False,
            ignore_permission_denied=True,
        )
        try:
            for changes in changes_of:
                self._tell({Path(path) for _, path in changes})
        except (OSError, RuntimeError) as error:
            # No such folder any more, or no inotify watches left (RuntimeError: also a loop that has ended).
            self.error = error

    def stop(self) -> None:
        self._stopped.set()


def _newly_complete(watched: Iterable[WatchedFolder], paths: set[Path], now: float) -> list[FoundFile]:
    for folder in watched:
        folder.notice(paths, now)
    return [file for folder in watched for file in folder.newly_complete(now)]


def _next_look(watched: Iterable[WatchedFolder]) -> float:
    return min((folder.next_look() for folder in watched), default=math.inf)


def _digests(watched: Iterable[WatchedFolder]) -> dict[str, str]:
    return {str(folder.folder): folder.digest for folder in watched}


def _payload(files: Collection[FoundFile]) -> dict[str, Any]:
    newest = max(files, key=lambda file: file.mtime_ns)
    # Names of old cameras need not be UTF-8; the event has to be.
    name = os.fsencode(newest.path.name).decode("utf-8", "backslashreplace")
    return {"files": len(files), "newest": name}
