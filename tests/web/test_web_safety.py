"""The pages harm nobody: closed to strangers, deaf to what a header says, and they never write."""

from __future__ import annotations

import re

import httpx
import pytest
from fastapi import FastAPI, HTTPException
from fastapi.routing import APIRoute
from web_browser import AIRFLOW, Browser
from web_chronicle import Chronicle

from new_sky import NewSky
from toros.models.database import Database
from toros.web.app import create_app
from toros.web.archive import Archive

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'><b>{{ 7**7 }}"


def closed() -> None:
    raise HTTPException(401, "Not authenticated")


def routes(app: FastAPI) -> list[APIRoute]:
    """Every route of the application, however deep."""
    return [route for route in app.routes if isinstance(route, APIRoute)]


async def test_every_single_address_asks_the_guard(archive: Archive) -> None:
    app = create_app(closed, lambda: archive)
    values = {
        "item_id": 1,
        "run_id": 1,
        "product_id": 1,
        "detection_id": 1,
        "night": "2026-11-20",
        "name": "toros.css",
    }
    paths = [route.path_format.format(**values) for route in routes(app)]
    assert len(paths) >= 10
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=AIRFLOW) as client:
        for path in [*paths, "/", "/static/toros.css"]:
            assert (await client.get(path)).status_code == 401, path
        for path in ("/docs", "/redoc", "/openapi.json", "/static/../app.py"):
            assert (await client.get(path)).status_code in (401, 404), path


async def test_a_stranger_is_told_to_log_in(archive: Archive) -> None:
    app = create_app(closed, lambda: archive)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=AIRFLOW) as client:
        assert "Log in to Airflow" in (await client.get("/")).text


def test_the_pages_can_only_be_read(archive: Archive) -> None:
    app = create_app(closed, lambda: archive)
    assert {method for route in routes(app) for method in route.methods or ()} == {"GET"}


@pytest.fixture
def hostile(chronicle: Chronicle) -> Chronicle:
    """A stream in which every text that comes from outside is an attack."""
    frame = chronicle.frame(
        name=f"{EVIL}.fits", object_=EVIL, filter=EVIL[:32], observer=EVIL, readoutm=EVIL[:40]
    )
    chronicle.product(frame, "<b>raw</b>", path=f"2026-11-20/{EVIL.replace('/', '')}.fits", caveats=[EVIL])
    chronicle.measure(frame, EVIL[:60], 1.0, EVIL[:40])
    chronicle.refused(f"/inbox/{EVIL}", reason=EVIL, advice=EVIL)
    chronicle.run(
        EVIL[:60],
        frame,
        status="failed",
        error_code=EVIL[:60],
        error_message=f"{EVIL} — {EVIL}",
        traceback=EVIL,
        parameters={EVIL: EVIL},
        dag_id=EVIL,
        run_id="javascript:alert(1)",
        task_id=EVIL,
    )
    chronicle.master([], set_key=f"Bias|{EVIL}")
    sky = NewSky(chronicle.database)
    sky.seen(sky.candidate(counterpart=EVIL[:80], kind_of_object=EVIL[:20]), frame, model_version=EVIL[:60])
    return chronicle


@pytest.mark.usefixtures("hostile")
async def test_nothing_that_a_header_says_becomes_part_of_a_page(browser: Browser) -> None:
    pages = await browser.crawl(
        "/toros/", "/toros/candidates", "/toros/runs", f"/toros/runs?step={EVIL}", f"/toros/?group={EVIL}"
    )
    assert len(pages) > 10
    shown = 0
    for path, page in pages.items():
        if "/file" in path:
            continue
        shown += "alert(1)" in page.text
        assert "823543" not in page.text, "a template in the data is not filled in"
        assert [script.attributes["src"].partition("?")[0] for script in page.all("script")] == [
            "/toros/static/frame.js"
        ]
        assert all(re.fullmatch(r"/toros/\w+/\d+/\w+\.png", it.attributes["src"]) for it in page.all("img"))
        assert not page.all("b") or all(bold.text.isdigit() for bold in page.all("b"))
        for element in page.elements:
            assert not any(name.startswith("on") or name == "style" for name in element.attributes)
            assert not element.attributes.get("href", "").lower().startswith("javascript")
    assert shown > 5, "the attacks were there to be seen"


@pytest.mark.parametrize("path", ["/toros/", "/toros/nowhere", "/toros/static/frame.js", "/toros/api/nights"])
async def test_every_answer_forbids_what_the_pages_do_not_need(browser: Browser, path: str) -> None:
    headers = (await browser.get(path)).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["frame-ancestors"] == "'self'"
    assert headers["x-content-type-options"] == "nosniff"


async def test_only_the_files_of_the_folder_are_static(browser: Browser) -> None:
    assert (await browser.get("/toros/static/toros.css")).headers["content-type"].startswith("text/css")
    for name in ("app.py", "..%2fapp.py", "%2fetc%2fpasswd"):
        assert (await browser.get(f"/toros/static/{name}")).status_code == 404


async def test_a_database_without_tables_is_told_with_advice(
    empty_database: Database, archive: Archive
) -> None:
    app = create_app(lambda: None, lambda: Archive(empty_database, archive.store, archive.observatory))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=AIRFLOW) as client:
        page, data = await client.get("/"), await client.get("/api/nights")
    assert page.status_code == data.status_code == 500
    assert "toros migrate" in page.text
    assert "toros migrate" in data.json()["advice"]


async def test_a_database_that_does_not_answer_is_passing_trouble(archive: Archive) -> None:
    nobody = Database("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    app = create_app(lambda: None, lambda: Archive(nobody, archive.store, archive.observatory))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=AIRFLOW) as client:
        assert (await client.get("/")).status_code == 503
