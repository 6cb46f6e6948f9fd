"""Files leave the data root whole, and nothing else leaves it; images can be looked at."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image
from web_browser import Browser
from web_chronicle import Chronicle

from toros.science.picture import draw_frame, encode_png
from toros.store import fits_file
from toros.web.preview import quick_look


def starry_sky(shape: tuple[int, int] = (40, 60)) -> np.ndarray:
    """A noisy sky with one bright star near the upper left corner of the image, that is: in its last rows."""
    sky = np.random.default_rng(11).normal(1000, 10, shape).astype(np.float32)
    sky[-8:-4, 4:8] = 20_000
    return sky


def as_fits(pixels: np.ndarray) -> bytes:
    """Return a FITS file with these pixels."""
    file = io.BytesIO()
    fits.PrimaryHDU(pixels).writeto(file)
    return file.getvalue()


async def test_a_download_is_the_file_under_its_own_name(browser: Browser, chronicle: Chronicle) -> None:
    content = bytes(range(256)) * 1000
    product = chronicle.product(chronicle.frame(), content=content, path='2026-11-20/raw/M31 "R".fits')
    answer = await browser.get(f"/toros/products/{product}/file")
    assert answer.content == content
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "M31%20%22R%22.fits" in answer.headers["content-disposition"]


@pytest.mark.parametrize(
    "path", ["../secret.txt", "2026-11-20/../../secret.txt", "/etc/passwd", "link.fits", ""]
)
async def test_nothing_outside_the_data_root_is_handed_out(
    browser: Browser, chronicle: Chronicle, tmp_path: Path, path: str
) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    chronicle.store.root.mkdir()
    (chronicle.store.root / "link.fits").symlink_to(tmp_path / "secret.txt")
    product = chronicle.product(chronicle.frame(), content=None, path=path)
    for what in ("file", "preview.png"):
        assert (await browser.get(f"/toros/products/{product}/{what}")).status_code == 404


async def test_a_file_that_is_gone_is_told_with_advice(browser: Browser, chronicle: Chronicle) -> None:
    product = chronicle.product(chronicle.frame(), content=None)
    page = await browser.read(f"/toros/products/{product}/file")
    assert page.status == 404
    assert "toros fsck" in page.text


async def test_an_item_shows_its_newest_image(browser: Browser, chronicle: Chronicle) -> None:
    frame = chronicle.frame()
    chronicle.product(frame, "raw", as_fits(starry_sky()), path="raw.fits")
    calibrated = chronicle.product(frame, "calibrated", as_fits(starry_sky()), path="new.fits.gz")
    chronicle.product(frame, "sources", b"not an image", path="sources.parquet")
    (image,) = (await browser.read(f"/toros/items/{frame}")).all("img")
    assert image.attributes["src"] == f"/toros/products/{calibrated}/preview.png"
    answer = await browser.get(image.attributes["src"])
    assert Image.open(io.BytesIO(answer.content)).size == (60, 40)


async def test_a_frame_that_has_a_picture_is_shown_by_it(browser: Browser, chronicle: Chronicle) -> None:
    frame, drawn = chronicle.frame(), encode_png(draw_frame(starry_sky(), None, title="M31"))
    chronicle.product(frame, "calibrated", as_fits(starry_sky()), path="new.fits")
    picture = chronicle.product(frame, "picture", drawn, path="new.png")
    chronicle.product(frame, "sources", b"a table", path="sources.fits")
    (image,) = (await browser.read(f"/toros/items/{frame}")).all("img")
    assert image.attributes["src"] == f"/toros/products/{picture}/preview.png"
    answer = await browser.get(image.attributes["src"])
    assert (answer.content, answer.headers["content-type"]) == (drawn, "image/png")
    calibrated_anew = chronicle.product(frame, "calibrated", as_fits(starry_sky()), version=2, path="v2.fits")
    (image,) = (await browser.read(f"/toros/items/{frame}")).all("img")
    assert image.attributes["src"] == f"/toros/products/{calibrated_anew}/preview.png"


async def test_a_quick_look_is_drawn_once_for_a_browser_that_keeps_it(
    browser: Browser, chronicle: Chronicle
) -> None:
    product = chronicle.product(chronicle.frame(), content=as_fits(starry_sky()))
    path = f"/toros/products/{product}/preview.png"
    first = await browser.get(path)
    again = await browser.get(path, **{"If-None-Match": first.headers["etag"]})
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")


async def test_what_is_no_image_is_told_so(browser: Browser, chronicle: Chronicle) -> None:
    product = chronicle.product(chronicle.frame(), content=b"no image at all", path="odd.fits")
    page = await browser.read(f"/toros/products/{product}/preview.png")
    assert page.status == 422
    assert "not_fits" in page.text


def test_a_star_is_bright_and_where_the_eye_expects_it(tmp_path: Path) -> None:
    (tmp_path / "sky.fits").write_bytes(as_fits(starry_sky()))
    picture = np.asarray(Image.open(io.BytesIO(quick_look(tmp_path / "sky.fits"))))
    assert picture[4:8, 4:8].min() == 255, "the last rows of the image are on top"
    assert np.median(picture) < 128


def test_real_frames_can_be_looked_at(real_frames: Path) -> None:
    frame = next((real_frames / "tres1").glob("*.fit*"))
    picture = Image.open(io.BytesIO(quick_look(frame)))
    rows, columns = fits_file.inspect(frame).shape
    assert abs(picture.width / picture.height - columns / rows) < 0.01
    assert max(picture.size) == 1024
