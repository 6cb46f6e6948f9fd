"""What the pages show, as JSON."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query

from toros.web.archive import ArchiveInUse
from toros.web.arguments import NightInPath, NightInQuery, PageNumber, RowId
from toros.web.candidates import CandidateList, list_candidates
from toros.web.items import ItemPage, show_item
from toros.web.nights import NightBoard, NightSummary, list_nights, show_night
from toros.web.runs import RunFilter, RunList, RunPage, list_runs, show_run

router = APIRouter()


@router.get("/nights")
def nights(archive: ArchiveInUse, before: NightInQuery = None) -> list[NightSummary]:
    """List the newest nights."""
    with archive.database.read() as session:
        return list_nights(session, archive.longitude(session), before)


@router.get("/nights/{night}")
def night(archive: ArchiveInUse, night: NightInPath, page: PageNumber = 1) -> NightBoard:
    """Tell about a night."""
    with archive.database.read() as session:
        return show_night(session, night, archive.longitude(session), archive.limits(), page=page)


@router.get("/candidates")
def candidates(archive: ArchiveInUse, night: NightInQuery = None, page: PageNumber = 1) -> CandidateList:
    """List candidates."""
    with archive.database.read() as session:
        return list_candidates(session, night, page)


@router.get("/items/{item_id}")
def item(archive: ArchiveInUse, item_id: RowId) -> ItemPage:
    """Tell about an item."""
    with archive.database.read() as session:
        found = show_item(session, item_id, archive.limits())
    if found is None:
        raise HTTPException(404, f"There is no item {item_id}")
    return found


@router.get("/runs")
def runs(archive: ArchiveInUse, wanted: Annotated[RunFilter, Query()]) -> RunList:
    """List step runs."""
    with archive.database.read() as session:
        return list_runs(session, wanted)


@router.get("/runs/{run_id}")
def run(archive: ArchiveInUse, run_id: RowId) -> RunPage:
    """Tell about a step run."""
    with archive.database.read() as session:
        found = show_run(session, run_id)
    if found is None:
        raise HTTPException(404, f"There is no step run {run_id}")
    return found
