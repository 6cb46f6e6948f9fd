"""What is new on the sky, for people: a list of candidates, each with its stamps, its light curve and its frames."""

from __future__ import annotations

import datetime as dt
import io
import re

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image
from web_browser import Browser
from web_chronicle import Chronicle

from new_sky import NIGHT, NewSky
from toros.models.database import Database
from toros.science.contact_sheet import STAMP_SIDE
from toros.web.candidates import CANDIDATES_PER_PAGE
from toros.web.pages import declination, right_ascension

SIDE = 21


@pytest.fixture
def sky(database: Database) -> NewSky:
    return NewSky(database)


def stamps_of(*places: int) -> bytes:
    """Return a product with stamps, in each of which the new star is in another column."""
    stamps = np.random.default_rng(3).normal(0, 1, (len(places), 3, SIDE, SIDE)).astype(np.float32)
    for stamp, column in zip(stamps, places, strict=True):
        stamp[[0, 2], SIDE // 2, column] += 500
    file = io.BytesIO()
    table = fits.BinTableHDU(np.zeros(len(places), [("score", float)]), name="CANDIDATES")
    fits.HDUList([fits.PrimaryHDU(), table, fits.ImageHDU(stamps, name="STAMPS")]).writeto(file)
    return file.getvalue()


def with_stamps(sky: NewSky, chronicle: Chronicle, *places: int) -> list[int]:
    """Let candidates be found on one new frame, with their stamps; return their detections."""
    frame = sky.frame()
    run = sky.run(item=frame)
    chronicle.product(frame, "candidates", stamps_of(*places), path="candidates.fits", steprun_id=run)
    return [sky.seen(sky.candidate(), frame, stamp=row, steprun_id=run) for row in range(len(places))]


# --------------------------------------------------------------------------------------------------- the list


async def test_candidates_are_listed_the_most_probable_first(browser: Browser, sky: NewSky) -> None:
    frame = sky.frame()
    for score in (0.2, None, 0.95, 0.6):
        sky.seen(sky.candidate(score), frame)
    rows = (await browser.read("/toros/candidates")).rows("Candidates")
    assert [re.findall(r" (0\.\d{3}) real", row) for row in rows] == [["0.950"], ["0.600"], ["0.200"], []]


async def test_a_line_says_where_how_bright_and_how_often(browser: Browser, sky: NewSky) -> None:
    nova = sky.candidate(0.994, counterpart="star of Tycho-2 at 0.4 arcsec")
    first, last = sky.frame(), sky.frame(night=1)
    sky.seen(nova, last, 16.5, snr=150.0)
    sky.seen(nova, first, 17.25)
    sky.looked_for(nova, sky.frame(night=2))
    page = await browser.read("/toros/candidates")
    (row,) = page.rows("Candidates")
    assert "05:00:00.72 -24:59:45.6 75.00300 -24.99600" in row
    assert "0.994 real 16.50 ± 0.01 150.0 2 ×" in row, "the numbers are those of the newest detection"
    assert "star of Tycho-2 at 0.4 arcsec candidate traced" in row
    assert {f"/toros/items/{nova}", f"/toros/items/{last}"} <= page.links


async def test_a_candidate_without_magnitude_has_a_flux_and_one_below_the_reference_has_faded(
    browser: Browser, sky: NewSky
) -> None:
    frame = sky.frame()
    sky.seen(sky.candidate(0.9), frame, None)
    sky.seen(sky.candidate(0.8), frame, 18.0, flux=-3000.0)
    uncalibrated, faded = (await browser.read("/toros/candidates")).rows("Candidates")
    assert "40000 e−" in uncalibrated
    assert "18.00 ± 0.01 faded" in faded


async def test_a_night_has_the_candidates_that_stood_out_in_it(browser: Browser, sky: NewSky) -> None:
    tonight, tomorrow = sky.frame(), sky.frame(night=1)
    old, young, steady = (sky.candidate(score) for score in (0.9, 0.8, 0.7))
    for candidate, frame in ((old, tonight), (young, tomorrow), (steady, tonight), (steady, tomorrow)):
        sky.seen(candidate, frame)
    sky.looked_for(young, tonight)
    page = await browser.read(f"/toros/candidates?night={NIGHT}")
    assert {old, young, steady} & {int(link.split("/")[-1]) for link in page.links if "/items/" in link} == {
        old,
        steady,
    }
    assert "2, most probable first" in page.text
    assert f"/toros/candidates?night={NIGHT}" in (await browser.read(f"/toros/?night={NIGHT}")).links


async def test_a_long_list_has_pages(browser: Browser, sky: NewSky) -> None:
    frame = sky.frame()
    for number in range(CANDIDATES_PER_PAGE + 3):
        sky.seen(sky.candidate(0.9 - number / 1000), frame)
    first = await browser.read(f"/toros/candidates?night={NIGHT}")
    second = await browser.read(first.link("less probable"))
    shown = [row.split(" real")[0].split()[-1] for page in (first, second) for row in page.rows("Candidates")]
    assert shown == [f"{0.9 - number / 1000:.3f}" for number in range(CANDIDATES_PER_PAGE + 3)]
    assert second.link("more probable").endswith(f"page=1&night={NIGHT}")


async def test_an_empty_sky_says_what_it_waits_for(browser: Browser) -> None:
    assert "when their field has a reference" in (await browser.read("/toros/candidates")).text


async def test_a_program_gets_the_same(browser: Browser, sky: NewSky) -> None:
    nova, frame = sky.candidate(0.75), sky.frame()
    sky.seen(nova, frame)
    answer = (await browser.get("/toros/api/candidates")).json()
    (line,) = answer["candidates"]
    assert (line["id"], line["score"], line["newest"]["frame_id"]) == (nova, 0.75, frame)
    assert (answer["in_all"], answer["pages"]) == (1, 1)
    sheet = (await browser.get(f"/toros/api/items/{nova}")).json()["candidate"]
    assert [point["mag"] for point in sheet["detections"]] == [17.0]
    stack = (await browser.get(f"/toros/api/items/{sky.stack}")).json()["stack"]
    assert [member["frame_id"] for member in stack["members"]] == sky.stacked


@pytest.mark.parametrize(
    ("ra", "dec", "text"),
    [
        (0.0, 0.0, "00:00:00.00 +00:00:00.0"),
        (359.99999999, -0.00001, "00:00:00.00 -00:00:00.0"),
        (83.822083, -5.391111, "05:35:17.30 -05:23:28.0"),
        (14.99999999, 89.99999999, "01:00:00.00 +90:00:00.0"),
    ],
)
def test_a_place_is_rounded_through_all_its_digits(ra: float, dec: float, text: str) -> None:
    assert f"{right_ascension(ra)} {declination(dec)}" == text


# ------------------------------------------------------------------------------------------- one candidate


async def test_a_candidate_shows_the_frames_on_which_it_was_seen_or_looked_for(
    browser: Browser, sky: NewSky
) -> None:
    nova, before, after = sky.candidate(), sky.frame(), sky.frame(night=1)
    sky.seen(nova, after)
    sky.looked_for(nova, before)
    page = await browser.read(f"/toros/items/{nova}")
    seen, missed = page.rows("Detections")
    assert "17.00 ± 0.01 133.3 40000 ± 300 e− 0.900 stood out" in seen
    assert "> 21.70 0.2 20 ± 100 e− measured at its place" in missed
    assert {f"/toros/items/{before}", f"/toros/items/{after}"} <= page.links
    assert "05:00:00.72 -24:59:45.6" in page.all("h1")[0].text


async def test_the_light_curve_has_points_and_arrows(browser: Browser, sky: NewSky) -> None:
    nova = sky.candidate()
    for mag in (17.0, 17.5, 18.0):
        sky.seen(nova, sky.frame(filter="V"), mag)
    sky.looked_for(nova, sky.frame(filter="R"))
    page = await browser.read(f"/toros/items/{nova}")
    (image,) = page.all("img")
    answer = await browser.get(image.attributes["src"])
    assert answer.headers["content-type"] == "image/png"
    picture = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB")).reshape(-1, 3)
    arrow, discs = ((picture == colour).all(axis=1).sum() for colour in ((11, 95, 165), (213, 94, 0)))
    assert arrow > 20
    assert discs > 3 * 20


async def test_without_a_magnitude_there_is_no_light_curve(browser: Browser, sky: NewSky) -> None:
    nova = sky.candidate()
    sky.seen(nova, sky.frame(), None)
    assert (await browser.read(f"/toros/items/{nova}")).all("img") == []
    assert (await browser.get(f"/toros/items/{nova}/light_curve.png")).status_code == 404
    assert (await browser.get("/toros/items/99999/light_curve.png")).status_code == 404


async def test_a_candidate_is_shown_by_its_own_stamps(
    browser: Browser, sky: NewSky, chronicle: Chronicle
) -> None:
    places = (4, 16)
    for detection, column in zip(with_stamps(sky, chronicle, *places), places, strict=True):
        answer = await browser.get(f"/toros/detections/{detection}/stamps.png")
        picture = np.asarray(Image.open(io.BytesIO(answer.content)))
        new = picture[:, :STAMP_SIDE]
        row, brightest = np.unravel_index(np.argmax(new), new.shape)
        assert int(brightest * SIDE / STAMP_SIDE) == column
        assert int(row * SIDE / STAMP_SIDE) == SIDE // 2
        reference = picture[:, STAMP_SIDE + 6 : 2 * STAMP_SIDE + 6]
        assert reference.max() < new.max()


async def test_stamps_are_on_the_pages_and_kept_by_the_browser(
    browser: Browser, sky: NewSky, chronicle: Chronicle
) -> None:
    (detection,) = with_stamps(sky, chronicle, 10)
    path = f"/toros/detections/{detection}/stamps.png"
    page = await browser.read("/toros/candidates")
    assert [image.attributes["src"] for image in page.all("img")] == [path]
    (candidate,) = (await browser.get("/toros/api/candidates")).json()["candidates"]
    item = await browser.read(f"/toros/items/{candidate['id']}")
    assert path in {image.attributes["src"] for image in item.all("img")}
    first = await browser.get(path)
    again = await browser.get(path, **{"If-None-Match": first.headers["etag"]})
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")


async def test_stamps_that_are_not_there_are_told(
    browser: Browser, sky: NewSky, chronicle: Chronicle
) -> None:
    frame = sky.frame()
    run = sky.run(item=frame)
    chronicle.product(frame, "candidates", stamps_of(4), path="candidates.fits", steprun_id=run)
    beyond = sky.seen(sky.candidate(), frame, stamp=1, steprun_id=run)
    forced = sky.looked_for(sky.candidate(), frame)
    assert (await browser.get(f"/toros/detections/{beyond}/stamps.png")).status_code == 422
    for nothing in (forced, 99_999):
        assert (await browser.get(f"/toros/detections/{nothing}/stamps.png")).status_code == 404


# ------------------------------------------------------------------------------------- frames and stacks


async def test_a_frame_shows_its_own_picture_and_the_contact_sheet_beside_it(
    browser: Browser, sky: NewSky, chronicle: Chronicle
) -> None:
    frame = sky.frame()
    kinds = ("picture", "difference", "candidates", "contact_sheet")
    picture, _, _, sheet = (
        chronicle.product(frame, kind, path=f"{kind}.{'png' if kind in ('picture', 'contact_sheet') else 'fits'}")
        for kind in kinds
    )  # fmt: skip
    page = await browser.read(f"/toros/items/{frame}")
    assert [image.attributes["src"] for image in page.all("img")] == [
        f"/toros/products/{product}/preview.png" for product in (picture, sheet)
    ]


async def test_a_frame_leads_to_what_is_new_on_it_and_to_the_stacks_it_is_in(
    browser: Browser, sky: NewSky
) -> None:
    frame = sky.stacked[0]
    nova, missed = sky.candidate(), sky.candidate()
    sky.seen(nova, frame)
    sky.looked_for(missed, frame)
    links = (await browser.read(f"/toros/items/{frame}")).links
    assert {f"/toros/items/{nova}", f"/toros/items/{sky.stack}"} <= links
    assert f"/toros/items/{missed}" not in links


async def test_a_stack_shows_its_frames_with_their_weights(browser: Browser, sky: NewSky) -> None:
    page = await browser.read(f"/toros/items/{sky.stack}")
    rows = page.rows("Frames in it")
    assert [row.split(maxsplit=2)[2] for row in rows] == [
        f"light-00{number}.fits 50.0 % 0.010 %" for number in (1, 2)
    ]
    assert {f"/toros/items/{frame}" for frame in sky.stacked} <= page.links


async def test_a_stack_tells_whether_it_is_the_reference(browser: Browser, sky: NewSky) -> None:
    replaced = sky.add_stack(sky.stacked)
    sky.add_reference(replaced, valid_until=dt.datetime(2026, 11, 23, 5, tzinfo=dt.UTC))
    declined = sky.add_stack(sky.stacked, "reference_declined")
    texts = [(await browser.read(f"/toros/items/{it}")).text for it in (sky.stack, replaced, declined)]
    assert "Reference of its field since 2026-11-21 01:00:00 UT run" in texts[0]
    assert "since 2026-11-21 01:00:00 UT, until 2026-11-23 05:00:00 UT" in texts[1]
    assert "It is not, and was not, the reference of its field." in texts[2]
