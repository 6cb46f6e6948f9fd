"""The pages for people, and the files behind them."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, NamedTuple

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, Response
from sqlalchemy import select

from toros.models import RUN_STATUSES, Product
from toros.web.archive import Archive, ArchiveInUse
from toros.web.arguments import NightInQuery, PageNumber, RowId, TextInQuery
from toros.web.candidate_pictures import light_curve_picture, stamps_picture
from toros.web.candidates import list_candidates
from toros.web.detections import find_stamps, list_detections
from toros.web.items import PICTURE_SUFFIX, show_item
from toros.web.nights import NIGHTS_PER_PAGE, list_nights, show_night
from toros.web.pages import STATIC_FOLDER, render
from toros.web.preview import quick_look
from toros.web.runs import RunFilter, list_runs, show_run
from toros.web.titles import titles

router = APIRouter(default_response_class=HTMLResponse)

# Drawing a large frame takes seconds of processor time and some memory: one after another.
_drawing = CapacityLimiter(1)


@router.get("/")
def night_board(
    request: Request,
    archive: ArchiveInUse,
    night: NightInQuery = None,
    group: TextInQuery = None,
    state: TextInQuery = None,
    before: NightInQuery = None,
    page: PageNumber = 1,
) -> HTMLResponse:
    """Show a night, by default the newest one, and which other nights there are."""
    with archive.database.read() as session:
        longitude = archive.longitude(session)
        nights = list_nights(session, longitude, before)
        shown = night or (nights[0].night if nights else None)
        board = (
            show_night(session, shown, longitude, archive.limits(), group=group, state=state, page=page)
            if shown
            else None
        )
    live = bool(nights) and before is None and shown == nights[0].night and page == 1
    return render(
        request,
        "night.html",
        nights=nights,
        nights_per_page=NIGHTS_PER_PAGE,
        board=board,
        group=group,
        state=state,
        before=before,
        live=live,
    )


@router.get("/candidates")
def candidates(
    request: Request, archive: ArchiveInUse, night: NightInQuery = None, page: PageNumber = 1
) -> HTMLResponse:
    """List what is new on the sky, the most probable first."""
    with archive.database.read() as session:
        found = list_candidates(session, night, page)
    return render(request, "candidates.html", found=found)


@router.get("/items/{item_id}")
def item(request: Request, archive: ArchiveInUse, item_id: RowId) -> HTMLResponse:
    """Show one item of the stream."""
    with archive.database.read() as session:
        found = show_item(session, item_id, archive.limits())
    if found is None:
        raise HTTPException(404, f"There is no item {item_id}")
    return render(request, "item.html", item=found)


@router.get("/runs")
def runs(request: Request, archive: ArchiveInUse, wanted: Annotated[RunFilter, Query()]) -> HTMLResponse:
    """List step runs, newest first."""
    with archive.database.read() as session:
        found = list_runs(session, wanted)
    return render(request, "runs.html", wanted=wanted, found=found, statuses=RUN_STATUSES)


@router.get("/runs/{run_id}")
def run(request: Request, archive: ArchiveInUse, run_id: RowId) -> HTMLResponse:
    """Show one step run."""
    with archive.database.read() as session:
        found = show_run(session, run_id)
    if found is None:
        raise HTTPException(404, f"There is no step run {run_id}")
    return render(request, "run.html", run=found)


@router.get("/products/{product_id}/file", response_class=FileResponse)
def product_file(archive: ArchiveInUse, product_id: RowId) -> FileResponse:
    """Hand out a product's file."""
    product = _product(archive, product_id)
    name = PurePath(product.path).name
    return FileResponse(archive.file(product.path), media_type="application/octet-stream", filename=name)


@router.get("/products/{product_id}/preview.png", response_class=Response)
async def product_preview(request: Request, archive: ArchiveInUse, product_id: RowId) -> Response:
    """Draw a quick look of an image product; a picture is one already."""
    product = await to_thread.run_sync(_product, archive, product_id)
    headers = _kept_for_long(product.checksum)
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    file = archive.file(product.path)
    if file.suffix == PICTURE_SUFFIX:
        return FileResponse(file, headers=headers, media_type="image/png")
    picture = await to_thread.run_sync(quick_look, file, limiter=_drawing)
    return Response(picture, media_type="image/png", headers=headers)


@router.get("/items/{item_id}/light_curve.png", response_class=Response)
async def light_curve(archive: ArchiveInUse, item_id: RowId) -> Response:
    """Draw the light curve of a candidate."""
    picture = await to_thread.run_sync(_draw_light_curve, archive, item_id, limiter=_drawing)
    return Response(picture, media_type="image/png")


@router.get("/detections/{detection_id}/stamps.png", response_class=Response)
async def stamps(request: Request, archive: ArchiveInUse, detection_id: RowId) -> Response:
    """Draw frame, reference and difference around a candidate."""
    place = await to_thread.run_sync(_find_stamps, archive, detection_id)
    headers = _kept_for_long(f"{place.file.checksum}-{place.row}")
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    picture = await to_thread.run_sync(stamps_picture, archive.file(place.file.path), place.row)
    return Response(picture, media_type="image/png", headers=headers)


@router.get("/static/{name}", response_class=FileResponse)
def static_file(name: str) -> FileResponse:
    """Hand out the style sheet, the icon and the script."""
    if name not in {file.name for file in STATIC_FOLDER.iterdir()}:
        raise HTTPException(404, f"There is no file {name}")
    return FileResponse(STATIC_FOLDER / name, headers={"Cache-Control": "private, max-age=3600"})


class _StoredFile(NamedTuple):
    path: str
    checksum: str


def _product(archive: Archive, product_id: int) -> _StoredFile:
    with archive.database.read() as session:
        row = session.execute(select(Product.path, Product.checksum).where(Product.id == product_id)).first()
    if row is None:
        raise HTTPException(404, f"There is no product {product_id}")
    return _StoredFile(*row)


class _StampsFile(NamedTuple):
    file: _StoredFile
    row: int


def _find_stamps(archive: Archive, detection_id: int) -> _StampsFile:
    with archive.database.read() as session:
        place = find_stamps(session, detection_id)
    if place is None:
        raise HTTPException(404, f"Detection {detection_id} has no stamps")
    return _StampsFile(_product(archive, place.product_id), place.row)


def _draw_light_curve(archive: Archive, item_id: int) -> bytes:
    with archive.database.read() as session:
        lines = list_detections(session, item_id)
        names = titles(session, [item_id])
    if not any(line.has_magnitude for line in lines):
        raise HTTPException(404, f"Item {item_id} has no light curve")
    return light_curve_picture(lines, names[item_id])


def _kept_for_long(name: str) -> dict[str, str]:
    """Return the headers of a picture of a product: that never changes, so a name of its content holds for ever."""
    return {"ETag": f'"{name}"', "Cache-Control": "private, max-age=86400"}
