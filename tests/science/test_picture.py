"""The picture of a frame shows what is on the sky, where it is on the sky."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import block_reduce
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import label
from scipy.spatial import cKDTree

from toros.errors import BadParameters, WrongGeometry
from toros.science.flags import PixelFlag
from toros.science.picture import (
    FLAGGED,
    GOOD,
    MOST_CIRCLES,
    TITLE_HEIGHT,
    as_picture,
    draw_frame,
    encode_png,
    shrink,
    stretch,
)
from toros.sim import Conditions, azulcito, build_detector, camera_wcs, sky_field, take_light, without_flaws

SIDE = 600
NOBODY = np.array([]), np.array([]), np.array([], int)


def empty_sky(shape: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    return np.random.default_rng(11).normal(1000, 10, shape).astype(np.float32)


def sky_wcs(rotation: float = 0.0, mirrored: bool = False, scale: float = 1.0, dec: float = -30.0) -> WCS:
    """A frame of so many arcsec per pixel whose y axis is so many degrees east of north."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.0, dec]
    wcs.wcs.crpix = [(SIDE + 1) / 2] * 2
    angle = math.radians(rotation)
    x_axis = np.array([-math.cos(angle), math.sin(angle)]) * (-1 if mirrored else 1)
    y_axis = np.array([math.sin(angle), math.cos(angle)])
    wcs.wcs.cd = np.column_stack([x_axis, y_axis]) * scale / 3600
    return wcs


def pixels(picture: Image.Image) -> np.ndarray:
    """Red, green and blue of the frame in a picture, without the title."""
    return np.asarray(picture.convert("RGB")).astype(int)[TITLE_HEIGHT:]


def inked(picture: Image.Image, colour: tuple[int, int, int]) -> np.ndarray:
    """Where a picture has a colour, or a darker one of its kind."""
    warmth = pixels(picture)[..., 0] - pixels(picture)[..., 2]
    return warmth * np.sign(colour[0] - colour[2]) > 40


def centres(picture: Image.Image, colour: tuple[int, int, int]) -> np.ndarray:
    """Columns and rows of the middles of all circles of a colour, sorted by column."""
    found, count = label(inked(picture, colour), np.ones((3, 3)))
    rings = [np.nonzero(found == number) for number in range(1, count + 1)]
    return np.array(sorted((column.min() + column.max(), row.min() + row.max()) for row, column in rings)) / 2


def drawn(picture: Image.Image, plain: Image.Image) -> np.ndarray:
    """Where a picture differs from another one of the same frame."""
    return np.abs(pixels(picture) - pixels(plain)).max(axis=2) > 0


# ------------------------------------------------------------------------------------------------ sources


def test_circles_are_where_the_sources_are() -> None:
    x, y = np.array([100.0, 251.3, 480.0]), np.array([80.0, 499.6, 300.0])
    picture = draw_frame(empty_sky(), None, sources=(x, y, np.zeros(3, int)))
    np.testing.assert_allclose(centres(picture, GOOD), np.column_stack([x, SIDE - 1 - y]), atol=1.0)


@pytest.mark.parametrize("shape", [(900, 1500), (1500, 900), (2048, 2048), (150, 200)])
def test_circles_are_where_the_sources_are_at_any_scale(shape: tuple[int, int]) -> None:
    sky = empty_sky(shape)
    x, y = 0.31 * shape[1], 0.72 * shape[0]
    sky[round(y) - 8 : round(y) + 9, round(x) - 8 : round(x) + 9] += 1e4
    picture = draw_frame(sky, None, sources=(np.array([x]), np.array([y]), np.array([0])), largest_side=512)
    assert max(picture.width, picture.height - TITLE_HEIGHT) <= 512
    ((column, row),) = centres(picture, GOOD)
    bright = np.nonzero(pixels(draw_frame(sky, None, largest_side=512))[..., 0] > 250)
    assert (row, column) == pytest.approx([np.mean(axis) for axis in bright], abs=1.5)


def test_flagged_sources_have_another_colour_and_the_legend_says_so() -> None:
    x, y = np.array([100.0, 300.0]), np.array([200.0, 200.0])
    picture = draw_frame(empty_sky(), None, sources=(x, y, np.array([0, 4])))
    assert centres(picture, GOOD)[:, 0] == pytest.approx([100], abs=1)
    assert centres(picture, FLAGGED)[:, 0] == pytest.approx([300], abs=1)
    title = np.asarray(picture.convert("RGB"))[:TITLE_HEIGHT].astype(int)
    for colour in (GOOD, FLAGGED):
        assert (np.abs(title - colour).max(axis=2) < 30).any()


def test_only_the_brightest_sources_are_circled() -> None:
    rng = np.random.default_rng(5)
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(15, 600, 30.0), np.arange(15, 600, 30.0)))
    sky, brightness = empty_sky(), rng.permutation(len(x)) + 10.0
    sky[y.astype(int), x.astype(int)] += 100 * brightness
    order = rng.permutation(len(x))
    picture = draw_frame(sky, None, sources=(x[order], y[order], np.zeros(len(x), int)))
    bright = brightness >= np.sort(brightness)[-MOST_CIRCLES]
    expected = np.column_stack([x[bright], SIDE - 1 - y[bright]])
    found = centres(picture, GOOD)
    assert len(found) == len(expected) == MOST_CIRCLES
    distances, _ = cKDTree(found).query(expected)
    assert distances.max() < 1.5


def test_what_lies_outside_or_nowhere_is_not_circled() -> None:
    x, y = np.array([-5.0, 300.0, np.nan, 700.0]), np.array([300.0, 600.0, 300.0, 300.0])
    sky = empty_sky()
    picture = draw_frame(sky, None, sources=(x, y, np.zeros(4, int)))
    assert not drawn(picture, draw_frame(sky, None)).any()


def test_a_circle_at_the_edge_does_not_reach_into_the_title() -> None:
    edge = np.array([300.0]), np.array([SIDE - 1.0]), np.array([1])
    inside = np.array([300.0]), np.array([300.0]), np.array([1])
    titles = [
        np.asarray(draw_frame(empty_sky(), None, sources=sources).convert("RGB"))[:TITLE_HEIGHT]
        for sources in (edge, inside)
    ]
    np.testing.assert_array_equal(*titles)


def test_the_stars_of_the_simulated_sky_are_circled() -> None:
    camera = without_flaws(azulcito((SIDE, SIDE)))
    wcs = camera_wcs(camera, 150.0, -30.0)
    sources = sky_field(150.0, -30.0, 0.1, density=10.0, seed=2)
    frame = take_light(
        build_detector(camera),
        sources,
        wcs,
        camera.band("R"),
        60.0,
        np.random.default_rng(1),
        conditions=Conditions(seeing=1.5),
    )
    stars = frame.truth[np.argsort(frame.truth["flux"])[-20:]]
    picture = draw_frame(frame.data, None, sources=(stars["x"], stars["y"], np.zeros(20, int)), wcs=wcs)
    plain = pixels(draw_frame(frame.data, None))[..., 0]
    rings, count = label(inked(picture, GOOD), np.ones((3, 3)))
    assert 10 < count <= 20, "circles of close stars touch"
    for star in stars:
        column, row = round(float(star["x"])), SIDE - 1 - round(float(star["y"]))
        square = (slice(max(row - 12, 0), row + 13), slice(max(column - 12, 0), column + 13))
        assert rings[square].any()
        assert plain[row, column] > np.median(plain) + 50


# --------------------------------------------------------------------------------------- compass and scale


def compass(wcs: WCS) -> np.ndarray:
    """Where the compass is drawn: the lower right corner, without the scale bar."""
    sky = empty_sky()
    where = drawn(draw_frame(sky, None, wcs=wcs), draw_frame(sky, None))
    where[:, : SIDE // 2] = False
    return where


def north_and_east(wcs: WCS) -> list[np.ndarray]:
    """Unit vectors (columns to the right, rows down), from small steps on the sky itself."""
    middle = wcs.pixel_to_world((SIDE - 1) / 2, (SIDE - 1) / 2)
    vectors = []
    for position_angle in (0, 90):
        x, y = wcs.world_to_pixel(middle.directional_offset_by(position_angle * u.deg, 1 * u.arcsec))
        vector = np.array([float(x) - (SIDE - 1) / 2, (SIDE - 1) / 2 - float(y)])
        vectors.append(vector / np.hypot(*vector))
    return vectors


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rotation", [0, 37, 90, 180, 251])
@pytest.mark.parametrize("dec", [-30.0, 89.99])
def test_the_compass_points_where_the_wcs_says(rotation: float, mirrored: bool, dec: float) -> None:
    wcs = sky_wcs(rotation, mirrored, dec=dec)
    row, column = np.nonzero(compass(wcs))
    offsets = np.column_stack([column, row]) - (SIDE - 16 - 50)
    far = offsets[np.hypot(*offsets.T) > 25]
    expected = north_and_east(wcs)
    along = np.array([far @ vector for vector in expected])
    across = np.array([np.abs(far @ (-vector[1], vector[0])) for vector in expected])
    on_an_arm = (along > 20) & (across < 12)
    assert on_an_arm.any(axis=0).mean() > 0.98
    assert (on_an_arm.sum(axis=1) > 100).all()


def test_north_is_told_from_east() -> None:
    """The letters differ: the compass of a mirrored sky is not that of a sky turned by 90 degrees."""
    assert (compass(sky_wcs(90)) != compass(sky_wcs(0, mirrored=True))).any()
    arms = compass(sky_wcs(0))
    assert (arms != compass(sky_wcs(0, mirrored=True))).any()


@pytest.mark.parametrize("scale", [0.02, 0.47, 1.0, 2.4, 5.0, 60.0])
@pytest.mark.parametrize("side", [600, 1200])
def test_the_scale_bar_is_as_long_as_it_says(
    scale: float, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    from toros.science import picture as module

    write = module._angle_in_words
    monkeypatch.setattr(module, "_angle_in_words", lambda angle: said.append(write(angle)) or said[-1])
    sky, wcs = empty_sky((side, side)), sky_wcs(rotation=20, scale=scale)
    where = drawn(draw_frame(sky, None, wcs=wcs, largest_side=600), draw_frame(sky, None, largest_side=600))
    bar = where[-17, :300]  # the middle row of the bar and its rim
    number, unit = said[0].split()
    arcsec = float(number) * {"arcsec": 1, "arcmin": 60, "deg": 3600}[unit]
    assert bar.sum() - 4 == pytest.approx(arcsec / scale * 600 / side, abs=2.5)
    assert 0.1 * 600 <= bar.sum() <= 0.4 * 600


def test_a_wcs_that_does_not_lead_to_the_sky_is_refused() -> None:
    plain = WCS(naxis=2)
    broken = sky_wcs()
    broken.wcs.cd = np.array([[1e-4, 1e-4], [1e-4, 1e-4]])
    for wcs in (plain, broken):
        with pytest.raises(BadParameters, match="WCS"):
            draw_frame(empty_sky(), None, wcs=wcs)


# --------------------------------------------------------------------------------------------------- title


def title_of(text: str, sources: tuple[np.ndarray, ...] | None = None) -> np.ndarray:
    picture = draw_frame(empty_sky(), None, title=text, sources=sources).convert("L")
    return np.asarray(picture)[:TITLE_HEIGHT]


def test_the_title_is_one_line_however_long_it_is() -> None:
    short, long = title_of("M 31, R, 60 s"), title_of("M 31 " * 100)
    assert short.max() > 200
    assert (long > 100).sum() > (short > 100).sum()
    legend = title_of("", sources=NOBODY)
    first = np.nonzero(legend > 100)[1].min()
    both = title_of("M 31 " * 100, sources=NOBODY)
    np.testing.assert_array_equal(both[:, first:], legend[:, first:])


def test_a_title_may_hold_any_character() -> None:
    np.testing.assert_array_equal(title_of("Cañón\ndel  Río"), title_of("Canon del  Rio"))
    np.testing.assert_array_equal(title_of("☉\x1b"), title_of("??"))


# ------------------------------------------------------------------------------------------- whatever comes


def test_flagged_pixels_are_not_seen_but_saturated_ones_are() -> None:
    sky, mask = empty_sky(), np.zeros((SIDE, SIDE), np.uint8)
    sky[100, 100] = sky[200, 200] = sky[300:304, 300:304] = 60_000
    mask[100, 100], mask[200, 200] = PixelFlag.HOT, PixelFlag.COSMIC_RAY
    mask[300:304, 300:304] = PixelFlag.SATURATED
    shades = pixels(draw_frame(sky, mask))[::-1, :, 0]
    assert max(shades[100, 100], shades[200, 200]) < 128
    assert shades[300:304, 300:304].min() > 250


def test_a_region_without_data_is_black() -> None:
    sky, mask = empty_sky(), np.zeros((SIDE, SIDE), np.uint8)
    mask[:100] = PixelFlag.NO_DATA
    sky[-100:] = np.nan
    shades = pixels(draw_frame(sky, mask))[::-1, :, 0]
    assert shades[:99].max() == shades[-99:].max() == 0
    assert shades[100:-100].mean() > 20


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (40, 2000), (2000, 40), (5000, 3)])
@pytest.mark.parametrize("kind", ["noise", "flat", "masked", "nan", "counts"])
def test_a_frame_of_any_shape_and_content_can_be_drawn(shape: tuple[int, int], kind: str) -> None:
    sky, mask = empty_sky(shape), np.zeros(shape, np.uint8)
    match kind:
        case "flat":
            sky[...] = 7
        case "masked":
            mask[...] = PixelFlag.DEAD
        case "nan":
            sky[...] = np.nan
        case "counts":
            sky = sky.astype(">u2")
    middle = np.array([shape[1] / 2]), np.array([shape[0] / 2]), np.array([1])
    picture = draw_frame(sky, mask, sources=middle, wcs=sky_wcs(10), title="any frame")
    assert max(picture.width, picture.height - TITLE_HEIGHT) <= 1024


@pytest.mark.parametrize(
    ("data", "mask", "side"),
    [
        (np.zeros((4, 4, 3)), None, 100),
        (np.zeros((0, 5)), None, 100),
        (np.zeros((4, 5)), np.zeros((5, 4), np.uint8), 100),
        (np.zeros((4, 5)), None, 0),
    ],
)
def test_what_is_no_frame_is_refused(data: np.ndarray, mask: np.ndarray | None, side: int) -> None:
    with pytest.raises((WrongGeometry, BadParameters)):
        draw_frame(data, mask, largest_side=side)


def test_the_same_frame_gives_the_same_bytes_and_stays_as_it_is() -> None:
    sky, mask = empty_sky((700, 900)), np.zeros((700, 900), np.uint8)
    mask[5, 5] = PixelFlag.DEAD
    copies = sky.copy(), mask.copy()
    sources = np.array([10.0, 500.0]), np.array([20.0, 600.0]), np.array([0, 1])
    first, again = (
        encode_png(draw_frame(sky, mask, sources=sources, wcs=sky_wcs(33), title="twice")) for _ in range(2)
    )
    assert first == again
    np.testing.assert_array_equal(sky, copies[0])
    np.testing.assert_array_equal(mask, copies[1])


def test_real_frames_look_as_the_sky_does(real_frames: Path) -> None:
    for name, shape in (
        ("tres1/tres1-049.fit.gz", (690, 1024)),
        ("sa112/SA112-SF1-001R1.fit.gz", (680, 1024)),
    ):
        frame = fits.getdata(real_frames / name)
        shades = pixels(draw_frame(frame, None))[..., 0]
        assert shades.shape == shape
        assert np.median(shades) < 100, "the sky is dark"
        assert 0.0005 < np.mean(shades > 250) < 0.02, "and only stars are white"


# --------------------------------------------------------------------------------- from pixels to shades


def test_a_large_image_is_binned_as_astropy_bins_it() -> None:
    sky = empty_sky((70 * 4, 100 * 4))
    small = shrink(sky, sky.shape, largest_side=100)
    np.testing.assert_allclose(small, block_reduce(sky, 4, np.mean), rtol=1e-5)


@given(rows=st.integers(2, 200), columns=st.integers(2, 200), largest=st.integers(2, 64))
def test_binning_keeps_every_pixel_in_mind_whatever_the_shape(rows: int, columns: int, largest: int) -> None:
    image = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns)
    small = shrink(image, image.shape, largest)
    assert max(small.shape) < 2 * largest + 1
    block = max(max(rows, columns) // largest, 1)
    for row, column in ((0, 0), (-1, -1), (0, -1)):
        top, left = (size % length * block for size, length in zip((row, column), small.shape, strict=True))
        whole = image[top : top + block, left : left + block]
        np.testing.assert_allclose(small[row, column], whole.mean(), rtol=1e-5)


@settings(max_examples=30)
@given(seed=st.integers(0, 999), largest=st.integers(5, 40))
def test_masked_and_missing_pixels_do_not_count(seed: int, largest: int) -> None:
    rng = np.random.default_rng(seed)
    sky = rng.normal(100, 5, (67, 83)).astype(np.float32)
    mask = rng.choice([0, PixelFlag.HOT, PixelFlag.SATURATED], sky.shape, p=[0.8, 0.1, 0.1]).astype(np.uint8)
    spoilt = sky.copy()
    spoilt[mask == PixelFlag.HOT] = rng.choice([np.nan, np.inf, 1e9])
    without = np.where(mask == PixelFlag.HOT, np.float32(np.nan), sky)
    np.testing.assert_allclose(
        shrink(spoilt, sky.shape, largest, mask), shrink(without, sky.shape, largest), rtol=1e-5
    )


def test_missing_pixels_are_left_out_and_black_where_nothing_is_left() -> None:
    sky = empty_sky((8, 8))
    sky[0, 0] = np.nan
    sky[2:4, 2:4] = np.nan
    small = shrink(sky, sky.shape, largest_side=4)
    np.testing.assert_allclose(small[0, 0], np.nanmean(sky[:2, :2]), rtol=1e-6)
    assert np.isnan(small[1, 1])
    assert stretch(small)[::-1][1, 1] == 0


@pytest.mark.parametrize("value", [np.nan, 7.0])
def test_an_image_without_contrast_can_be_drawn(value: float) -> None:
    assert len(np.unique(stretch(np.full((4, 5), value, np.float32)))) == 1


@given(shape=st.tuples(st.integers(1, 30), st.integers(1, 30)), seed=st.integers(0, 99))
def test_the_png_holds_exactly_the_shades_it_was_given(shape: tuple[int, int], seed: int) -> None:
    shades = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    png = encode_png(as_picture(shades, 64))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), shades)
