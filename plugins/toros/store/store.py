"""The data root: staging, atomic publication, layout.

A product file is written below ``.staging/run_<id>/``, flushed to the disk, and renamed to a name that never
existed before (it ends in the number of its run). Only then does its row appear. Before the first rename a
manifest of the new names is flushed into the staging folder, so that whoever finds the remains of a killed
run knows exactly which files to remove.

::

    <data root>/
        2026-11-20/                 one folder per observing night
            raw/                    as they came, read-only
            master/ calibrated/ ... one folder per kind of product
        .staging/run_000123/        work in progress; empty when nothing runs
"""

from __future__ import annotations

import datetime as dt
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from toros.errors import DiskFull, FileMissing, Misconfigured, StorageUnavailable

CHUNK = 4 * 1024 * 1024
_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class StagedFile:
    """A file in the staging area and the name it will have."""

    staged: Path
    path: PurePosixPath
    """Relative to the data root."""


@dataclass(frozen=True)
class PublishedFile:
    """A file that has its final name."""

    path: PurePosixPath
    size: int
    checksum: str


class Store:
    """The data root of one pipeline.

    Parameters
    ----------
    root : Path
        The folder; created when it is first written to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, relative: str | PurePosixPath) -> Path:
        """Return where a product lies on this machine."""
        return self.root / relative

    def product_path(self, night: dt.date, kind: str, stem: str, run_id: int, suffix: str) -> PurePosixPath:
        """Return the name of a new product: its night, its kind, what it shows, the run that made it."""
        readable = re.sub(r"[^A-Za-z0-9.+-]+", "_", stem).strip("._")[:120] or "frame"
        return PurePosixPath(night.isoformat(), kind, f"{readable}_r{run_id:06d}{suffix}")

    def maker_of(self, path: str) -> int | None:
        """Return the run that made a product, as its name tells; None where no run names files so."""
        name = re.search(r"_r(\d{6,})(?:\.[^/]*)?$", path)
        return int(name[1]) if name else None

    def staging(self, run_id: int) -> Path:
        """Return the staging folder of a run, made if needed."""
        folder = self._staging_of(run_id)
        with translated_os_errors(folder):
            _make_folder(folder)
        return folder

    def copy_in(self, source: Path, target: Path) -> str:
        """Copy a foreign file into the staging area; one read gives copy and checksum.

        Returns
        -------
        str
            SHA-256 of what was copied.

        Raises
        ------
        FileMissing, DiskFull, StorageUnavailable
        """
        digest = hashlib.sha256()
        with (
            translated_os_errors(source),
            source.open("rb", buffering=0) as reader,
            target.open("wb") as writer,
        ):
            while chunk := reader.read(CHUNK):
                digest.update(chunk)
                writer.write(chunk)
        return digest.hexdigest()

    def publish(self, run_id: int, files: Sequence[StagedFile]) -> list[PublishedFile]:
        """Flush staged files and give them their final names, all or none.

        Raises
        ------
        DiskFull, StorageUnavailable
            What was published so far is in the manifest: `discard` removes it.
        Misconfigured
            A file of that name is there already; nothing was published.
        """
        if not files:
            return []
        folder = self._staging_of(run_id)
        for file in files:
            if self.path(file.path).exists():
                raise Misconfigured(
                    f"{self.path(file.path)} exists, but this database never made it",
                    advice="each database needs a data root of its own",
                )
        with translated_os_errors(folder):
            published = [
                PublishedFile(file.path, file.staged.stat().st_size, self.checksum(file.staged))
                for file in files
            ]
            for file in files:
                if (
                    file.staged.stat().st_nlink == 1
                ):  # a hard-linked raw file belongs to the camera's folder too
                    file.staged.chmod(0o444)
                _flush(file.staged)
            manifest = folder / _MANIFEST
            manifest.write_text(json.dumps([str(file.path) for file in files]))
            _flush(manifest)
            _flush(folder)
            for file in files:
                target = self.path(file.path)
                _make_folder(target.parent)
                file.staged.rename(target)
            for parent in {self.path(file.path).parent for file in files}:
                _flush(parent)
        return published

    def discard(self, run_id: int, keep: Sequence[str] = (), *, published: Sequence[str] = ()) -> None:
        """Remove what a run left: its staging folder, and the files it published, except those to ``keep``.

        Parameters
        ----------
        run_id : int
            The run; it can no longer record a product.
        keep
            Paths that are recorded as products.
        published
            Paths that the run may have published even though its manifest is gone.
        """
        folder = self._staging_of(run_id)
        with translated_os_errors(folder):
            orphans = {*self._manifest(folder), *published}.difference(keep)
            for path in orphans:
                self.path(path).unlink(missing_ok=True)
            for parent in {self.path(path).parent for path in orphans}:
                if parent.is_dir():
                    _flush(parent)
        self.clear(run_id)  # the manifest goes last

    def clear(self, run_id: int) -> None:
        """Remove the staging folder of a run whose products are recorded."""
        folder = self._staging_of(run_id)
        with (
            translated_os_errors(folder),
            suppress(FileNotFoundError),
        ):  # nothing staged, or somebody was faster
            shutil.rmtree(folder)

    def staged_runs(self) -> list[int]:
        """Return the ids of the runs that have a staging folder."""
        area = self.root / ".staging"
        if not area.is_dir():
            return []
        names = (re.fullmatch(r"run_(\d+)", folder.name) for folder in area.iterdir())
        return sorted(int(name[1]) for name in names if name)

    def checksum(self, path: Path) -> str:
        """Return the SHA-256 of a file."""
        with translated_os_errors(path), path.open("rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def files(self) -> Iterator[str]:
        """Walk over the published files: paths relative to the data root."""
        if not self.root.is_dir():
            return
        for night in sorted(self.root.iterdir()):
            if night.is_dir() and re.fullmatch(r"\d{4}-\d\d-\d\d", night.name):
                for file in sorted(night.rglob("*")):
                    if not file.is_dir():
                        yield file.relative_to(self.root).as_posix()

    def _staging_of(self, run_id: int) -> Path:
        return self.root / ".staging" / f"run_{run_id:06d}"

    def _manifest(self, folder: Path) -> list[str]:
        try:
            paths: list[str] = json.loads((folder / _MANIFEST).read_text())
        except FileNotFoundError:
            return []
        except json.JSONDecodeError:  # killed while it was written: then nothing was renamed yet
            return []
        return paths


@contextmanager
def translated_os_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's errors into ours, with the fate they deserve."""
    try:
        yield
    except (DiskFull, FileMissing, StorageUnavailable):
        raise
    except FileNotFoundError as error:
        raise FileMissing(f"{error.filename or path} is not there") from error
    except OSError as error:
        if error.errno is None:  # raised by a library, about what is in a file
            raise
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"no space left for {error.filename or path}") from error
        raise StorageUnavailable(f"{error.filename or path}: {error.strerror}") from error


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _make_folder(folder: Path) -> None:
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for new in missing:  # a new folder is on the disk when its parent is
        _flush(new.parent)
