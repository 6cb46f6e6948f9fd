"""A small stream to look at, and a browser to look at it with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from web_browser import AIRFLOW, Browser
from web_chronicle import Chronicle

from toros.config import Settings
from toros.models.database import Database
from toros.store.store import Store
from toros.web.app import create_app
from toros.web.archive import Archive


@pytest.fixture
def chronicle(database: Database, store: Store) -> Chronicle:
    """The stream, empty at first."""
    return Chronicle(database, store)


@pytest.fixture
def limits_file(tmp_path: Path) -> Path:
    """The limits of the observatory's own; none at first."""
    file = tmp_path / "quality.toml"
    file.touch()
    return file


@pytest.fixture
def archive(settings: Settings, limits_file: Path) -> Archive:
    """What the pages look at."""
    return Archive.of(replace(settings, quality_limits=limits_file))


@pytest.fixture
async def browser(archive: Archive) -> AsyncIterator[Browser]:
    """Somebody who is logged in."""
    airflow = FastAPI()
    airflow.mount("/toros", create_app(guard=lambda: None, open_archive=lambda: archive))
    transport = httpx.ASGITransport(app=airflow)
    async with httpx.AsyncClient(transport=transport, base_url=AIRFLOW) as client:
        yield Browser(client)
