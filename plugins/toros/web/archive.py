"""What the pages look at: the science database and the data root."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import select
from sqlalchemy.orm import Session

from toros.config import Settings
from toros.errors import FileMissing
from toros.models import Observatory
from toros.models.database import Database
from toros.quality.limits import QualityLimits, read_limits
from toros.store.store import Store


@dataclass(frozen=True)
class Archive:
    """One science database with its data root."""

    database: Database
    store: Store
    observatory: str
    """Name of the observatory whose nights are told apart."""
    quality_limits: Path | None = None
    """File with limits of quality of one's own."""

    @classmethod
    def of(cls, settings: Settings) -> Archive:
        """Open the archive that the settings name."""
        return cls(
            Database(settings.database_url),
            Store(settings.data_root),
            settings.observatory,
            settings.quality_limits,
        )

    def longitude(self, session: Session) -> float:
        """Return the observatory's longitude in degrees, east positive; 0 where it is not known."""
        found = session.scalar(select(Observatory.longitude).where(Observatory.name == self.observatory))
        return found or 0.0

    def limits(self) -> QualityLimits:
        """Return the limits of quality that are in force.

        Raises
        ------
        BadProfile
            Their file is not there, or does not say what it should.
        """
        return read_limits(self.quality_limits)

    def file(self, relative: str) -> Path:
        """Return where a product lies.

        Raises
        ------
        FileMissing
            There is no such file, or its path leads out of the data root.
        """
        root = self.store.root.resolve()
        path = self.store.path(relative).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            raise FileMissing(f"{relative} is not in the data root", advice="`toros fsck` finds out more")
        return path


OpenArchive = Callable[[], Archive]


def _opened(request: Request) -> Archive:
    open_archive: OpenArchive = request.app.state.open_archive
    return open_archive()


ArchiveInUse = Annotated[Archive, Depends(_opened)]
"""The archive, as an argument of a page."""
