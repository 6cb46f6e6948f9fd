"""The night board tells everything about its night, and nothing about another."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event
from web_browser import Browser
from web_chronicle import EVENING, NIGHT, Chronicle

from toros.caveats import LEGEND, Caveat
from toros.instruments import observing_night
from toros.models.database import Database
from toros.web.nights import NIGHTS_PER_PAGE, list_nights, night_begins

DAY = dt.timedelta(days=1)


async def test_before_the_first_frame_it_says_how_frames_get_in(browser: Browser) -> None:
    board = await browser.read("/toros/")
    assert board.status == 200
    assert "No frames yet" in board.text
    assert "toros_survey" in board.text


async def test_the_newest_night_is_shown_unless_another_one_is_asked_for(
    browser: Browser, chronicle: Chronicle
) -> None:
    chronicle.frame(name="old.fits", night=NIGHT - DAY)
    chronicle.frame(name="new.fits")
    newest, before = await browser.read("/toros/"), await browser.read(f"/toros/?night={NIGHT - DAY}")
    assert f"Night of {NIGHT} " in newest.text
    assert "new.fits" in newest.text
    assert "old.fits" not in newest.text
    assert "old.fits" in before.text
    assert "new.fits" not in before.text
    assert f"/toros/?night={NIGHT - DAY}" in newest.links


async def test_frames_come_newest_first_with_what_they_are(browser: Browser, chronicle: Chronicle) -> None:
    chronicle.frame(name="first.fits", observation_date=EVENING, exptime=30.0, filter="V")
    chronicle.frame(
        "Bias", "cleaned_data", name="last.fits", observation_date=EVENING + dt.timedelta(hours=1)
    )
    last, first = (await browser.read("/toros/")).rows("Frames")
    assert last.startswith("01:30:00 last.fits Bias")
    assert "cleaned data" in last
    assert first.startswith("00:30:00 first.fits Science M31 V 30 s preprocessed data")


async def test_only_the_newest_night_is_read_again_by_itself(browser: Browser, chronicle: Chronicle) -> None:
    chronicle.frame(night=NIGHT - DAY)
    chronicle.frame()
    for path, expected in (("/toros/", ["60"]), (f"/toros/?night={NIGHT - DAY}", [])):
        page = await browser.read(path)
        assert [
            meta.attributes["content"] for meta in page.all("meta") if "http-equiv" in meta.attributes
        ] == expected


async def test_a_count_leads_to_the_frames_that_it_counts(browser: Browser, chronicle: Chronicle) -> None:
    chronicle.frame(name="good.fits")
    chronicle.frame(state="failed_to_preprocess", name="bad.fits")
    chronicle.frame("Flat", "failed_to_clean", name="dark_flat.fits")
    board = await browser.read("/toros/")
    failed = await browser.read(board.link("failed to preprocess"))
    assert ["bad.fits" in row for row in failed.rows("Frames")] == [True]
    flats = await browser.read(board.link("Flat"))
    assert ["dark_flat.fits" in row for row in flats.rows("Frames")] == [True]


async def test_a_long_night_comes_by_pages_that_hold_each_frame_once(
    browser: Browser, chronicle: Chronicle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toros.web.nights.FRAMES_PER_PAGE", 4)
    for _ in range(5):
        chronicle.frame(state="raw_data")
        chronicle.frame("Bias", state="raw_data")
    pages = [await browser.read("/toros/")]
    while "older" in {link.text for link in pages[-1].all("a")}:
        pages.append(await browser.read(pages[-1].link("older")))
    assert [len(page.rows("Frames")) for page in pages] == [4, 4, 2]
    frames = [row for page in pages for row in page.rows("Frames")]
    assert len(set(frames)) == 10
    assert frames == sorted(frames, reverse=True)
    assert pages[1].link("newer") == f"/toros/?night={NIGHT}#frames"


async def test_a_caveat_of_the_newest_version_is_shown_with_its_meaning(
    browser: Browser, chronicle: Chronicle
) -> None:
    frame = chronicle.frame()
    chronicle.product(frame, version=1, caveats=[Caveat.NO_FLAT])
    chronicle.product(frame, version=2, caveats=[Caveat.NO_DARK, "from_the_future"])
    said = {it.text: it.attributes["title"] for it in (await browser.read("/toros/")).all("abbr")}
    assert said == {"no dark": LEGEND[Caveat.NO_DARK], "from the future": "not known to this version"}


async def test_the_numbers_of_the_newest_measuring_run_are_shown(
    browser: Browser, chronicle: Chronicle
) -> None:
    frame = chronicle.frame()
    chronicle.measure(frame, "raw_level", 1003.25, "adu")
    chronicle.measure(frame, "sky_level", 45678.9, "electron")
    (row,) = (await browser.read("/toros/")).rows("Frames")
    assert "sky level 45679 electron" in row
    assert "raw level" not in row


async def test_masters_are_shown_with_version_frames_numbers_and_caveats(
    browser: Browser, chronicle: Chronicle
) -> None:
    frames = [chronicle.frame("Bias", "cleaned_data") for _ in range(3)]
    master = chronicle.master(frames, version=2, state="master_rejected")
    chronicle.product(master, "master", caveats=[Caveat.LEVEL_CHANGED])
    chronicle.measure(master, "level_shift", -12.5, "adu")
    (row,) = (await browser.read("/toros/")).rows("Masters")
    assert row == "Bias ccd 1 · size 64x64 2 3 master rejected level shift -12.5 adu level changed"


async def test_a_refused_file_is_shown_with_reason_and_advice_and_a_duplicate_is_counted(
    browser: Browser, chronicle: Chronicle
) -> None:
    chronicle.frame()
    chronicle.refused("/inbox/cut.fits", reason="it ends at byte 80", advice="copy it again")
    chronicle.refused("/inbox/twice.fits", "duplicate")
    board = await browser.read("/toros/")
    (row,) = board.rows("Refused files")
    assert row.endswith("/inbox/cut.fits truncated it ends at byte 80 copy it again")
    assert "1 refused 1 duplicates" in board.text
    assert board.rows("Failed runs") == [], "what is refused is told once"


async def test_a_night_with_nothing_but_refused_files_is_a_night(
    browser: Browser, chronicle: Chronicle
) -> None:
    chronicle.refused("/inbox/cut.fits")
    assert f"Night of {NIGHT} " in (await browser.read("/toros/")).text


@pytest.mark.parametrize("longitude", [-67.328, 0.0, 170.0, 293.0])
def test_a_refused_file_belongs_to_the_night_in_which_it_was_written(
    chronicle: Chronicle, longitude: float
) -> None:
    noon = night_begins(NIGHT, longitude)
    moments = [noon - dt.timedelta(seconds=30), noon + dt.timedelta(seconds=30), noon + DAY / 2]
    for number, moment in enumerate(moments):
        chronicle.refused(f"/inbox/{number}.fits", at=moment)
    with chronicle.database.read() as session:
        nights = {night.night: night.refused for night in list_nights(session, longitude)}
        older = list_nights(session, longitude, before=NIGHT)
    assert nights == {NIGHT - DAY: 1, NIGHT: 2}
    assert [night.night for night in older] == [NIGHT - DAY]
    assert {observing_night(moment, longitude) for moment in moments} == set(nights)


@given(
    moment=st.datetimes(
        EVENING.replace(1990, tzinfo=None), EVENING.replace(2060, tzinfo=None), timezones=st.just(dt.UTC)
    ),
    longitude=st.floats(-180, 360),
)
def test_a_night_begins_where_the_observing_night_of_a_frame_begins(
    moment: dt.datetime, longitude: float
) -> None:
    begins = night_begins(observing_night(moment, longitude), longitude)
    assert begins <= moment < begins + DAY


async def test_a_failed_run_says_what_to_do_and_whether_it_was_made_good(
    browser: Browser, chronicle: Chronicle
) -> None:
    frame, other = chronicle.frame(name="unlucky.fits"), chronicle.frame(name="lost.fits")
    failed = {"status": "failed", "error_code": "disk_full", "error_message": "no space — free some"}
    chronicle.run("preprocess", frame, **failed)
    chronicle.run("preprocess", frame)
    chronicle.run("preprocess", other, **failed)
    chronicle.run("preprocess", chronicle.frame(night=NIGHT - DAY), **failed)
    lost, unlucky = (await browser.read("/toros/")).rows("Failed runs")
    assert "lost.fits failed 2 s disk_full no space free some" in lost
    assert "unlucky.fits failed succeeded later" in unlucky


async def test_a_failure_without_an_item_belongs_to_the_night_it_happened_in(
    browser: Browser, chronicle: Chronicle
) -> None:
    chronicle.frame()
    failed = {"status": "failed", "error_code": "storage_unavailable", "error_message": "gone"}
    chronicle.run("discover", started_at=EVENING, **failed)
    chronicle.run("discover", started_at=EVENING + 3 * DAY, **failed)
    assert len((await browser.read("/toros/")).rows("Failed runs")) == 1


async def test_what_is_at_work_now_is_shown(browser: Browser, chronicle: Chronicle) -> None:
    chronicle.run("preprocess", chronicle.frame(name="in_hand.fits"), status="running")
    (row,) = (await browser.read("/toros/")).rows("At work now")
    assert "preprocess in_hand.fits running" in row


async def test_older_nights_are_reached_page_by_page(browser: Browser, chronicle: Chronicle) -> None:
    for number in range(NIGHTS_PER_PAGE + 1):
        chronicle.frame(state="raw_data", night=NIGHT - number * DAY)
    newest = await browser.read("/toros/")
    oldest = f"/toros/?night={NIGHT - NIGHTS_PER_PAGE * DAY}"
    assert oldest not in newest.links
    (older,) = {link for link in newest.links if "before=" in link}
    assert any(link.startswith(oldest) for link in (await browser.read(older)).links)


async def test_the_number_of_queries_does_not_grow_with_the_number_of_frames(
    browser: Browser, chronicle: Chronicle, database: Database
) -> None:
    statements: list[str] = []
    event.listen(
        database.engine,
        "before_cursor_execute",
        lambda _c, _cursor, statement, *_: statements.append(statement),
    )

    async def queries() -> int:
        statements.clear()
        await browser.read("/toros/")
        return len(statements)

    def more() -> None:
        frames = [chronicle.frame("Bias", "cleaned_data") for _ in range(4)]
        for frame in frames:
            chronicle.measure(frame, "level", 1.0)
            chronicle.run("clean", frame, status="failed", error_code="not_finite", error_message="NaN")
        chronicle.product(chronicle.master(frames, set_key=f"Bias|ccd={frames[0]}"), "master")
        chronicle.refused(f"/inbox/{frames[0]}.fits")

    more()
    few = await queries()
    more()
    assert await queries() == few


async def test_a_frame_has_the_worst_of_its_colours(browser: Browser, chronicle: Chronicle) -> None:
    hazy, good, silent = (chronicle.frame(name=f"{name}.fits") for name in ("hazy", "good", "silent"))
    chronicle.measure(hazy, "transparency", 0.2)
    chronicle.measure(hazy, "fwhm", 2.0, "arcsec")  # by a later run: the colour is still that of the haze
    chronicle.measure(good, "fwhm", 2.0, "arcsec")
    chronicle.measure(silent, "zero_point", 24.0, "mag")
    board = await browser.read("/toros/")
    rows = {row.split()[1]: row for row in board.rows("Frames")}
    assert "preprocessed data orange fwhm 2 arcsec" in rows["hazy.fits"]
    assert "preprocessed data green fwhm 2 arcsec" in rows["good.fits"]
    assert "preprocessed data zero point 24 mag" in rows["silent.fits"]
    why = [span.attributes["title"] for span in board.all("span", "Frames") if span.text == "orange"]
    assert [reason.partition(":")[0] for reason in why] == ["transparency 0.2 is below 0.4"]


async def test_a_master_has_a_colour_too(browser: Browser, chronicle: Chronicle) -> None:
    master = chronicle.master([chronicle.frame("Bias", "cleaned_data")])
    chronicle.measure(master, "frames", 2)
    (row,) = (await browser.read("/toros/")).rows("Masters")
    assert "master accepted orange frames 2" in row
    night = (await browser.get(f"/toros/api/nights/{NIGHT}")).json()
    assert (night["masters"][0]["colour"], night["frames"][0]["colour"]) == ("orange", None)
    assert night["masters"][0]["reasons"][0].startswith("frames 2 is below 3")
