"""What is in the watched folders, and which of it is complete.

Standard library only: this runs inside Airflow's triggerer. Files are looked at, never touched; a folder may
be missing, unreadable, unmounted or on a slow network share at any time.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from toros.store.completeness import is_whole

QUIET_SECONDS = 0.2
"""Even a file as long as its header promises must rest for so long: its last block may be on its way."""

TEMPORARY_SUFFIXES = (".part", ".partial", ".filepart", ".tmp", ".temp", ".crdownload", ".swp", "~")


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file as it was found: another size or time means other content."""

    path: Path
    size: int
    mtime_ns: int
    sparse: bool = field(default=False, compare=False)
    """Whether it has holes: some programs reserve the full length first and fill it in afterwards."""


def scan(
    folders: Iterable[Path], *, on_error: Callable[[OSError], None] = lambda _: None
) -> Iterator[FoundFile]:
    """Walk through the folders and everything below them.

    Hidden and temporary names are passed over; links are followed, and no folder is entered twice.

    Parameters
    ----------
    folders : iterable of Path
        Where to look.
    on_error : callable
        Told about each folder or file that cannot be read; the walk goes on with the others.

    Yields
    ------
    FoundFile
        Every regular file, in no particular order. Files that vanish meanwhile are left out.
    """
    waiting = list(folders)
    entered: set[tuple[int, int]] = set()
    while waiting:
        folder = waiting.pop()
        try:
            here = identity_of(folder)
            entries = [] if here in entered else _entries(folder)
        except OSError as error:
            on_error(error)
            continue
        entered.add(here)
        for entry in entries:
            try:
                if entry.is_dir():
                    waiting.append(Path(entry.path))
                elif entry.is_file():
                    yield _found(Path(entry.path), entry.stat())
            except FileNotFoundError:
                continue
            except OSError as error:
                on_error(error)


def look_at(path: Path) -> FoundFile | None:
    """Look at one path again; None where no regular file is left there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return _found(path, status) if stat.S_ISREG(status.st_mode) else None


def is_temporary(name: str) -> bool:
    """Whether a file or folder of that name is hidden, or somebody's half-done work."""
    return name.startswith((".", "~")) or name.lower().endswith(TEMPORARY_SUFFIXES)


def rest_needed(file: FoundFile, *, settle_seconds: float, patience_seconds: float) -> float:
    """How long a file must have been left alone before it counts as complete, in seconds.

    A FITS file as long as its header promises needs next to nothing. One that is shorter gets
    `patience_seconds` to grow; whatever is handed on after that will be rejected as truncated, with its
    reason on record. Where the length tells nothing (compressed, not FITS, holes inside), only
    `settle_seconds` of rest do.
    """
    if file.size == 0:
        return patience_seconds
    try:
        whole = is_whole(file.path)
    except OSError:
        whole = None
    if whole is False:
        return patience_seconds
    return QUIET_SECONDS if whole and not file.sparse else settle_seconds


class WatchedFolder:
    """One watched folder: what is in it, since when it is as it is, and what of it is complete.

    It has no clock: `now` is in seconds of any clock that never goes back.

    Parameters
    ----------
    folder : Path
        The folder; it need not exist (yet).
    settle_seconds, patience_seconds : float
        See `rest_needed`.
    announced : str, optional
        The `digest` of an earlier life. If the same files are found, they are not handed out again.
    """

    def __init__(
        self, folder: Path, *, settle_seconds: float, patience_seconds: float, announced: str = ""
    ) -> None:
        self.folder = folder
        self.errors: list[OSError] = []
        self._settle_seconds = settle_seconds
        self._patience_seconds = patience_seconds
        self._growing: dict[Path, _Sighting] = {}
        self._complete: dict[Path, FoundFile] = {}
        self._sum = 0
        self._home: tuple[int, int] | None = None
        self._announced = announced

    @property
    def digest(self) -> str:
        """A fingerprint of all complete files; as long as none is found, that of the earlier life."""
        if self._announced:
            return self._announced
        return f"{self._sum:032x}" if self._complete else ""

    def rescan(self, now: float, *, wall_time: float) -> None:
        """Look at everything; `errors` then holds what could not be read.

        Parameters
        ----------
        now : float
            Seconds of the clock that never goes back.
        wall_time : float
            Seconds since 1970, to tell at first sight how long a file has been left alone.
        """
        self.errors = []
        found = {file.path: file for file in scan([self.folder], on_error=self.errors.append)}
        identity = self._identity()
        at_first_sight = self._home is None
        for file in found.values():
            age = max(0.0, wall_time - file.mtime_ns / 1e9) if at_first_sight else 0.0
            self._sight(file, since=now - age)
        # An empty folder that is not the one we knew is a bare mount point: its files will be back.
        if found or identity == self._home:
            self._home = identity
            if not self.errors:
                self._forget_missing(found)

    def notice(self, paths: Iterable[Path], now: float) -> None:
        """Look at those paths only: somebody said that they changed."""
        for path in paths:
            if not path.is_relative_to(self.folder) or _is_hidden(path.relative_to(self.folder)):
                continue
            file = look_at(path)
            # A folder that was just made or moved in may have been filled before anybody watched it.
            for found in [file] if file is not None else scan([path]):
                self._sight(found, since=now)

    def newly_complete(self, now: float) -> list[FoundFile]:
        """Hand out, once, the files that have become complete since the last call."""
        complete = [s.file for s in list(self._growing.values()) if self._has_settled(s, now)]
        for file in complete:
            del self._growing[file.path]
            self._complete[file.path] = file
            self._sum = (self._sum + self._fingerprint(file)) % 2**128
        if complete and self._announced:
            announced, self._announced = self._announced, ""
            return [] if self.digest == announced else complete
        return complete

    def next_look(self) -> float:
        """Tell at which time `newly_complete` may have something new if nothing else changes."""
        return min((sighting.due for sighting in self._growing.values()), default=math.inf)

    def _identity(self) -> tuple[int, int] | None:
        try:
            return identity_of(self.folder)
        except OSError:
            return None

    def _sight(self, file: FoundFile, *, since: float) -> None:
        known = self._complete.get(file.path)
        if known == file:
            return
        if known is not None:
            self._forget(known)
        sighting = self._growing.get(file.path)
        if sighting is None or sighting.file != file:
            self._growing[file.path] = _Sighting(file, since)

    def _has_settled(self, sighting: _Sighting, now: float) -> bool:
        if now < sighting.due:
            return False
        file = look_at(sighting.file.path)
        if file is None:
            del self._growing[sighting.file.path]
            return False
        if file != sighting.file:
            self._sight(file, since=now)
            return False
        if not sighting.looked_into:
            sighting.looked_into = True
            sighting.rest = rest_needed(
                file, settle_seconds=self._settle_seconds, patience_seconds=self._patience_seconds
            )
        return now >= sighting.due

    def _forget_missing(self, found: dict[Path, FoundFile]) -> None:
        for path in self._growing.keys() - found.keys():
            del self._growing[path]
        for path in self._complete.keys() - found.keys():
            self._forget(self._complete[path])

    def _forget(self, file: FoundFile) -> None:
        del self._complete[file.path]
        self._sum = (self._sum - self._fingerprint(file)) % 2**128

    def _fingerprint(self, file: FoundFile) -> int:
        name = os.fsencode(file.path.relative_to(self.folder))
        text = b"%d %d %b" % (file.size, file.mtime_ns, name)
        return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest())


@dataclass(slots=True)
class _Sighting:
    """A file that is not yet complete, since when it has been as it is, and how long it has to stay so."""

    file: FoundFile
    since: float
    rest: float = QUIET_SECONDS
    looked_into: bool = False

    @property
    def due(self) -> float:
        return self.since + self.rest


def identity_of(folder: Path) -> tuple[int, int]:
    """Tell a folder from another one that took its place: device and inode.

    Raises
    ------
    OSError
        It is not there, or cannot be reached.
    """
    status = folder.stat()
    return status.st_dev, status.st_ino


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not is_temporary(entry.name)]


def _found(path: Path, status: os.stat_result) -> FoundFile:
    sparse = status.st_blocks * 512 < status.st_size
    return FoundFile(path, status.st_size, status.st_mtime_ns, sparse)


def _is_hidden(relative: Path) -> bool:
    return any(is_temporary(part) for part in relative.parts)
