"""What is known of a loaded catalogue, and how it lies on the disk.

::

    <folder of the catalogues>/
        .lock                       held by whoever loads or removes a catalogue
        .staging/                   a catalogue in the making; of no worth when nobody holds the lock
        gaia/
            v000001/                a version: complete since it has this name, and never changed
                catalogue.json      the description
                00_ra.f8 01_dec.f8  one file of numbers for each column, sorted by HEALPix cell
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toros.errors import BadCatalogue, BadParameters

LOCK = ".lock"
STAGING = ".staging"
_FILE = "catalogue.json"
_VERSION = re.compile(r"v(\d{6,})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,59}")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(_Record):
    """One column: its name, the file that holds it, and the type of its numbers."""

    name: str
    file: str
    dtype: str


class Coverage(_Record):
    """Where on the sky the stars are."""

    area: float
    """Square degrees, to the size of the cells that were counted (0.2 square degrees)."""
    ra: float
    dec: float
    """Degrees: the middle of the stars."""
    radius: float
    """Degrees: of a circle around all stars."""


class Origin(_Record):
    """Where the stars came from, and what became of its rows."""

    file: str
    size: int
    checksum: str
    """SHA-256."""
    columns: dict[str, str]
    """Our names and those of the file."""
    rows: int
    without_position: int
    without_magnitude: int
    unreadable: int
    impossible_motion: int


class CatalogueDescription(_Record):
    """What is known of a catalogue."""

    name: str
    version: int
    stars: int = Field(gt=0)
    epoch: float
    """Julian year of the positions as they are stored."""
    epoch_assumed: bool
    """Whether neither the file nor a person told the epoch."""
    bands: tuple[str, ...] = Field(min_length=1)
    main_band: str
    order: int
    """HEALPix order by which the stars are sorted."""
    fastest: float
    """Largest proper motion, mas/yr."""
    coverage: Coverage
    origin: Origin
    added_at: dt.datetime
    columns: tuple[Column, ...]

    def write(self, folder: Path) -> Path:
        """Write it into the folder of its version; return the file."""
        file = folder / _FILE
        file.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        return file


def read_description(folder: Path) -> CatalogueDescription:
    """Read the description in the folder of a version.

    Raises
    ------
    FileNotFoundError
        There is none (any more).
    BadCatalogue
        It does not say what it should.
    """
    try:
        return CatalogueDescription.model_validate_json((folder / _FILE).read_bytes())
    except ValidationError as error:
        raise BadCatalogue(f"{folder / _FILE}: {error}", advice="load the catalogue again") from None


def versions_of(folder: Path, name: str) -> list[Path]:
    """Return the folders of all versions of a catalogue, the oldest first."""
    home = folder / checked_name(name)
    if not home.is_dir():
        return []
    found = {int(m[1]): path for path in home.iterdir() if (m := _VERSION.fullmatch(path.name))}
    return [found[number] for number in sorted(found)]


def next_version(folder: Path, name: str) -> int:
    """Return the number that a new version gets."""
    versions = versions_of(folder, name)
    return int(versions[-1].name[1:]) + 1 if versions else 1


def version_folder(folder: Path, name: str, version: int) -> Path:
    """Return where a version lies."""
    return folder / checked_name(name) / f"v{version:06d}"


def names_in(folder: Path) -> Iterator[str]:
    """Return the names of the catalogues in a folder, sorted."""
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if _NAME.fullmatch(path.name) and versions_of(folder, path.name):
                yield path.name


def checked_name(name: str) -> str:
    """Return the name if a catalogue may be called so.

    Raises
    ------
    BadParameters
    """
    if not _NAME.fullmatch(name):
        raise BadParameters(
            f"a catalogue cannot be called {name!r}",
            advice="use letters, digits, and . _ + - after the first",
        )
    return name
