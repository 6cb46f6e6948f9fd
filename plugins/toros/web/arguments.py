"""What may be asked for: ids, nights and texts that the database can be asked about."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from fastapi import Path, Query

LARGEST_ID = 2**31 - 1

RowId = Annotated[int, Path(ge=1, le=LARGEST_ID)]

# The night after the one that is shown is computed, too.
NightInPath = Annotated[dt.date, Path(ge=dt.date(1900, 1, 1), le=dt.date(2999, 12, 31))]
NightInQuery = Annotated[dt.date | None, Query(ge=dt.date(1900, 1, 1), le=dt.date(2999, 12, 31))]

PageNumber = Annotated[int, Query(ge=1, le=10_000)]

TEXT = r"^[^\x00]*$"
"""PostgreSQL cannot be asked about a NUL."""

TextInQuery = Annotated[str | None, Query(pattern=TEXT)]
