"""An item, and a run: everything on record about it, and the way to everything bound up with it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from sqlalchemy import select
from web_browser import Browser, Page
from web_chronicle import NIGHT, Chronicle

from toros.caveats import LEGEND, Caveat
from toros.errors import DiskFull
from toros.links import URL_PREFIX
from toros.models import CCD, Arrival, Campaign
from toros.models.database import Database
from toros.web.items import LONGEST_LIST

TASK = {
    "dag_id": "toros_survey",
    "run_id": "asset_triggered__2026-11-21T03:14:00+00:00_x/y",
    "task_id": "exposure.preprocess",
    "map_index": 3,
    "try_number": 2,
}


class Calibrated:
    """A frame calibrated with a master bias made of two frames."""

    def __init__(self, chronicle: Chronicle) -> None:
        self.biases = [chronicle.frame("Bias", "cleaned_data", name=f"bias_{n}.fits") for n in (1, 2)]
        raw_biases = [chronicle.product(bias, "raw") for bias in self.biases]
        self.master = chronicle.master(self.biases)
        master = chronicle.product(self.master, "master", caveats=[Caveat.FIRST_MASTER])
        chronicle.made_from(master, *raw_biases)
        self.frame = chronicle.frame(name="ngc_253.fits")
        raw = chronicle.product(self.frame, "raw")
        self.run = chronicle.run("preprocess", self.frame, **TASK, cpu_seconds=3.5, peak_memory=6 * 10**8)
        self.product = chronicle.product(self.frame, caveats=[Caveat.NO_DARK], steprun_id=self.run)
        chronicle.made_from(self.product, raw, master)


@pytest.fixture
def calibrated(chronicle: Chronicle) -> Calibrated:
    return Calibrated(chronicle)


async def test_an_item_shows_its_history_with_the_runs_that_made_it(
    browser: Browser, calibrated: Calibrated
) -> None:
    page = await browser.read(f"/toros/items/{calibrated.frame}")
    newest, oldest = page.rows("History")
    assert "raw data → preprocessed data" in newest
    assert "new → raw data" in oldest
    assert f"/toros/runs/{calibrated.run}" in page.links


async def test_the_caveats_of_a_product_are_spelled_out_beside_its_file(
    browser: Browser, calibrated: Calibrated
) -> None:
    page = await browser.read(f"/toros/items/{calibrated.frame}")
    newest, raw = page.rows("Products")
    assert newest.startswith("calibrated v1")
    assert LEGEND[Caveat.NO_DARK] in newest
    assert raw.endswith("none")
    assert f"/toros/products/{calibrated.product}/file" in page.links


async def test_an_older_version_is_marked_as_superseded(browser: Browser, chronicle: Chronicle) -> None:
    frame = chronicle.frame()
    for version in (1, 2):
        chronicle.product(frame, version=version)
    newest, oldest = (await browser.read(f"/toros/items/{frame}")).rows("Products")
    assert newest.startswith("calibrated v2 product")
    assert oldest.startswith("calibrated v1 superseded")


async def test_lineage_leads_up_to_the_raw_frames_and_down_to_what_came_of_them(
    browser: Browser, calibrated: Calibrated
) -> None:
    frame = await browser.read(f"/toros/items/{calibrated.frame}")
    assert [row.split(" v1")[0] for row in frame.rows("Made from")] == [
        f"Bias · ccd 1 · size 64x64 of {NIGHT}"
    ]
    master = await browser.read(f"/toros/items/{calibrated.master}")
    assert [row.split()[0] for row in master.rows("Made from")] == ["bias_2.fits", "bias_1.fits"]
    assert [row.split()[0] for row in master.rows("Used for")] == ["ngc_253.fits"]
    bias = await browser.read(f"/toros/items/{calibrated.biases[0]}")
    assert f"/toros/items/{calibrated.master}" in bias.links


async def test_a_master_that_is_wanted_shows_what_it_will_combine(
    browser: Browser, chronicle: Chronicle
) -> None:
    frames = [chronicle.frame("Bias", "cleaned_data") for _ in range(2)]
    page = await browser.read(f"/toros/items/{chronicle.master(frames, state='master_wanted')}")
    assert {f"/toros/items/{frame}" for frame in frames} <= page.links


async def test_a_refused_arrival_says_why_and_what_to_do(browser: Browser, chronicle: Chronicle) -> None:
    item = chronicle.refused("/inbox/cut.fits", reason="it ends at byte 80", advice="copy it again")
    page = await browser.read(f"/toros/items/{item}")
    assert "Refused: it ends at byte 80 truncated What to do: copy it again" in page.text


async def test_a_run_shows_what_ran_where_and_at_what_price(browser: Browser, calibrated: Calibrated) -> None:
    page = await browser.read(f"/toros/runs/{calibrated.run}")
    for told in (
        "succeeded on ngc_253.fits",
        "version 1",
        "numpy 2.4",
        "andes, process 4637",
        "3.5 s",
        "600 MB",
    ):
        assert told in page.text
    assert len(page.rows("Read")) == 2
    assert len(page.rows("Written")) == 1


async def test_a_run_leads_back_to_its_airflow_task(browser: Browser, calibrated: Calibrated) -> None:
    page = await browser.read(f"/toros/runs/{calibrated.run}")
    (task,) = [a for a in page.all("a") if "data-airflow" in a.attributes]
    assert task.attributes["href"] == (
        "/dags/toros_survey/runs/asset_triggered__2026-11-21T03%3A14%3A00%2B00%3A00_x%2Fy"
        "/tasks/exposure.preprocess/mapped/3?try_number=2"
    )
    siblings = await browser.read(page.link(TASK["run_id"]))  # type: ignore[arg-type]
    assert [row.split()[2] for row in siblings.rows("Step runs")] == ["preprocess"]


async def test_a_failed_run_says_what_to_do_and_what_becomes_of_it(
    browser: Browser, chronicle: Chronicle
) -> None:
    error = DiskFull("no space left for m31.fits")
    run = chronicle.run(
        "preprocess",
        chronicle.frame(),
        status="failed",
        error_code=error.code,
        error_message=error.explanation,
        traceback="Traceback (most recent call last):\n  KeyError: 'GAIN'",
    )
    page = await browser.read(f"/toros/runs/{run}")
    assert f"{error.message} disk_full What to do: {error.advice}" in page.text
    assert "tried again by itself" in page.text
    assert "KeyError: 'GAIN'" in page.all("pre")[0].text


async def test_an_error_that_nobody_foresaw_is_called_one(browser: Browser, chronicle: Chronicle) -> None:
    run = chronicle.run(status="failed", error_code="ZeroDivisionError", error_message="division by zero")
    assert "not foreseen" in (await browser.read(f"/toros/runs/{run}")).text


async def test_runs_are_listed_by_status_and_by_task(browser: Browser, chronicle: Chronicle) -> None:
    chronicle.run("clean", **TASK)
    chronicle.run("clean", **TASK | {"map_index": 4})
    chronicle.run("load", status="failed", error_code="conflict", error_message="")
    for query, steps in (
        ("", ["load", "clean", "clean"]),
        ("?status=failed", ["load"]),
        ("?dag_id=toros_survey&map_index=4", ["clean"]),
        ("?step=clean&status=failed", []),
    ):
        rows = (await browser.read(f"/toros/runs{query}")).rows("Step runs")
        assert [row.split()[2] for row in rows] == steps


async def test_a_long_list_of_runs_goes_on_where_it_stopped(
    browser: Browser, chronicle: Chronicle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toros.web.runs.RUNS_PER_PAGE", 4)
    for number in range(6):
        chronicle.run(f"step{number}", dag_id="a&b")
    first = await browser.read("/toros/runs?dag_id=a%26b")
    rest = await browser.read(first.link("older"))
    assert len(first.rows("Step runs")) == 4
    steps = [row.split()[2] for row in first.rows("Step runs") + rest.rows("Step runs")]
    assert steps == [f"step{number}" for number in reversed(range(6))]


async def test_a_list_that_is_cut_says_so(browser: Browser, chronicle: Chronicle) -> None:
    there_and_back = ["arrived", "rejected"] * LONGEST_LIST
    for length, says_so in ((LONGEST_LIST - 1, False), (LONGEST_LIST + 1, True)):
        arrival = Arrival(path=f"/inbox/{length}.fits", size=1, mtime_ns=1)
        page = await browser.read(f"/toros/items/{chronicle.enter(arrival, *there_and_back[:length])}")
        assert (f"History the newest {LONGEST_LIST}" in page.text) is says_so


async def test_every_link_leads_somewhere(
    browser: Browser, calibrated: Calibrated, chronicle: Chronicle
) -> None:
    chronicle.refused("/inbox/cut.fits")
    chronicle.run("load", status="running", **TASK)
    pages = await browser.crawl("/toros/")
    assert {page.status for page in pages.values()} == {200}
    assert f"/toros/items/{calibrated.biases[0]}" in pages
    assert all(path.startswith(URL_PREFIX) for path in pages)


@pytest.mark.parametrize("path", ["items/999", "runs/999", "products/999/file", "products/999/preview.png"])
async def test_what_does_not_exist_is_told_so(browser: Browser, path: str) -> None:
    page = await browser.read(f"/toros/{path}")
    assert page.status == 404
    assert "There is no" in page.text


@pytest.mark.parametrize(
    "path",
    [
        "items/first",
        "items/0",
        f"items/{10**30}",
        "products/-1/file",
        "?night=yesterday",
        "?night=9999-12-31",
        "?group=%00",
        "?page=0",
        "runs?status=bad",
        "runs?step=%00",
        f"runs?before={10**30}",
    ],
)
async def test_an_address_that_makes_no_sense_is_refused(browser: Browser, path: str) -> None:
    page = await browser.read(f"/toros/{path}")
    assert page.status == 422
    assert "cannot be understood" in page.text


async def test_the_same_is_told_as_json(
    browser: Browser, calibrated: Calibrated, chronicle: Chronicle
) -> None:
    chronicle.measure(calibrated.frame, "zero_point", math.inf)
    item = (await browser.get(f"/toros/api/items/{calibrated.frame}")).json()
    assert (item["title"], item["state"]["name"]) == ("ngc_253.fits", "preprocessed_data")
    assert item["measures"][0]["value"] is None, "JSON has no infinity"
    run = (await browser.get(f"/toros/api/runs/{calibrated.run}")).json()
    assert run["task"] == TASK
    assert {output["id"] for output in run["outputs"]} == {calibrated.product}
    (night,) = (await browser.get("/toros/api/nights")).json()
    assert night == {"night": str(NIGHT), "science": 1, "calibration": 2, "refused": 0}
    board = (await browser.get(f"/toros/api/nights/{NIGHT}")).json()
    assert {frame["id"] for frame in board["frames"]} == {calibrated.frame, *calibrated.biases}
    runs = (await browser.get("/toros/api/runs?step=preprocess")).json()
    assert calibrated.run in {run["id"] for run in runs["runs"]}


@pytest.mark.parametrize("path", ["items/999", "runs/999"])
async def test_what_does_not_exist_is_told_as_json_too(browser: Browser, path: str) -> None:
    answer = await browser.get(f"/toros/api/{path}")
    assert answer.status_code == 404
    assert "There is no" in answer.json()["error"]


# ------------------------------------------------------------------------------------------------ quality


def dots(page: Page, section: str = "") -> list[str]:
    """The colours shown after a heading: the word, and the dot beside it, which must agree."""
    found = [span for span in page.all("span", section) if "dot" in span.attributes.get("class", "").split()]
    assert all(span.attributes["class"].split() == ["dot", span.text] for span in found)
    return [span.text for span in found]


async def test_a_measure_is_shown_with_its_colour_and_the_reason(
    browser: Browser, chronicle: Chronicle
) -> None:
    frame = chronicle.frame()
    chronicle.measure(frame, "fwhm", 9.25, "arcsec")
    chronicle.measure(frame, "ellipticity", 0.05)
    chronicle.measure(frame, "zero_point", 24.5, "mag")
    page = await browser.read(f"/toros/items/{frame}")
    zero_point, ellipticity, fwhm = page.rows("Quality")
    assert fwhm.startswith("fwhm 9.25 arcsec orange run")
    assert "fwhm 9.25 arcsec is above 8: The full width" in fwhm
    assert ellipticity.startswith("ellipticity 0.05 green run")
    assert zero_point.startswith("zero point 24.5 mag run"), "it has no limits"
    assert dots(page, "Quality") == ["green", "orange"]
    assert dots(page, "frame_")[0] == "orange", "the worst one stands beside the state"


async def test_a_measure_that_was_taken_anew_counts_no_more(browser: Browser, chronicle: Chronicle) -> None:
    frame = chronicle.frame()
    chronicle.measure(frame, "fwhm", 99.0, "arcsec")
    chronicle.measure(frame, "fwhm", 2.0, "arcsec")
    page = await browser.read(f"/toros/items/{frame}")
    newest, oldest = page.rows("Quality")
    assert newest.startswith("fwhm 2 arcsec green run")
    assert oldest.startswith("fwhm 99 arcsec red run")
    assert "superseded" in oldest
    assert "superseded" not in newest
    assert dots(page, "frame_") == ["green"]


async def test_limits_are_those_of_the_camera_in_the_unit_that_they_have(
    browser: Browser, chronicle: Chronicle, limits_file: Path, database: Database
) -> None:
    with database.read() as session:
        camera = session.scalars(select(CCD.profile).join(Campaign).order_by(Campaign.id)).first()
    limits_file.write_text(f'[cameras."{camera}".fwhm]\nyellow = 1\norange = 2\nred = 3\n')
    frame, bias = chronicle.frame(), chronicle.frame("Bias", "cleaned_data")
    for item in (frame, bias, chronicle.master([bias])):
        chronicle.measure(item, "fwhm", 4.0, "arcsec")
        chronicle.measure(item, "ellipticity", 4.0, "percent")
        page = await browser.read(f"/toros/items/{item}")
        assert dots(page, "Quality") == ["red"], (
            "percent are not what the limit of the ellipticity is given in"
        )


async def test_a_colour_that_a_run_gave_is_shown_where_there_are_no_limits(
    browser: Browser, chronicle: Chronicle
) -> None:
    frame = chronicle.frame()
    for name, colour in (("moon_glow", "yellow"), ("star_glow", "pink")):
        chronicle.measure(frame, name, 1.0, colour=colour)
    page = await browser.read(f"/toros/items/{frame}")
    assert dots(page, "Quality") == ["yellow"]


async def test_an_item_without_measures_has_no_colour(browser: Browser, chronicle: Chronicle) -> None:
    assert dots(await browser.read(f"/toros/items/{chronicle.frame()}")) == []


async def test_broken_limits_are_told_with_advice(
    browser: Browser, chronicle: Chronicle, limits_file: Path
) -> None:
    limits_file.write_text("[measures.fwhm]\nyellow = 99\n")
    page = await browser.read(f"/toros/items/{chronicle.frame()}")
    assert page.status == 500
    assert "quality_limits" in page.text
