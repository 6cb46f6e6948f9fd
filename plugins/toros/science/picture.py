"""The picture of a frame, for human eyes: its sources, where north and east are, and how large it is on the sky.

Pictures are seen as the sky is: the first row of a frame is at the bottom.
"""

from __future__ import annotations

import io
import math
import unicodedata
from functools import cache
from typing import Any

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.visualization import AsinhStretch, ZScaleInterval
from astropy.wcs import WCS
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from toros.errors import BadParameters, WrongGeometry
from toros.science.flags import PixelFlag
from toros.science.geometry import Rows, tiles_of
from toros.science.noise import sky_level, sky_noise

Sources = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
"""x and y (0-based pixels of the frame), and flags: zero for a good source."""

Colour = tuple[int, int, int]

LARGEST_SIDE = 1024
"""Pixels."""

BRIGHT_PERCENTILE = 99.7
BRIGHT_SIGMA = 20.0
"""What is brighter than both is white; zscale alone, made for the sky, has all stars white and the noise glaring."""

DARK_SIGMA = -2.0
"""What is darker, in units of the noise from the level of the sky, is black; or what zscale cuts, if that is more."""

MOST_CIRCLES = 300

# Colours that everybody can tell apart (Okabe and Ito 2008).
GOOD: Colour = (86, 180, 233)
FLAGGED: Colour = (240, 150, 0)
TEXT: Colour = (255, 255, 255)
BACKGROUND: Colour = (16, 16, 16)

TITLE_HEIGHT = 26
"""Rows of the line of text above the frame."""

ROUND_ANGLES = tuple(number * unit for unit in (1, 60, 3600) for number in (1, 2, 5, 10, 20, 30))
"""Lengths that a scale bar may have, arcsec."""

LONGEST_BAR = 0.3
"""Of the width of the picture."""

_WORTHLESS = np.uint8(~int(PixelFlag.SATURATED) & 0xFF)
_BAND = 64
_SAMPLE = 20_000
_TINY = float(np.finfo(np.float32).tiny)
_RADIUS = 9
_ARM = 36
_MARGIN = 16
_SHORTEST_BAR = 20
_TEXT_SIZE = 14
_SHARPER = 4
"""What is drawn with smooth edges is drawn so many times larger first."""


def draw_frame(
    data: Rows,
    mask: Rows | None,
    *,
    sources: Sources | None = None,
    wcs: WCS | None = None,
    title: str = "",
    largest_side: int = LARGEST_SIDE,
) -> Image.Image:
    """Draw a frame with what was found in it.

    Parameters
    ----------
    data : Rows, (ny, nx)
        Calibrated frame in any unit: an array, or rows that are read as they are needed.
    mask : Rows of uint8, (ny, nx), or None
        Bits of `PixelFlag`. Flagged pixels are left out, beside saturated ones: in their place stands the mean of
        their neighbours, or black.
    sources : tuple of arrays (x, y, flags), optional
        What was detected, in 0-based pixels. Circles are drawn around the brightest few hundred; those whose
        flags are not zero have another colour. What lies outside the frame is not drawn.
    wcs : WCS, optional
        Of the frame: gives the compass and the scale bar.
    title : str
        One line of text above the frame; what is too long is cut.
    largest_side : int
        Pixels of the longer side of the frame in the picture, at most. A small frame is enlarged by a whole number.

    Returns
    -------
    PIL.Image.Image
        With a palette of 256 colours, which halves its file; `TITLE_HEIGHT` rows higher than the frame in it.

    Raises
    ------
    WrongGeometry
        The frame is not a plane of pixels, or the mask has another shape.
    BadParameters
        `largest_side` is not positive, or the WCS does not lead to the sky.
    """
    _require_usable(data, mask, largest_side)
    small = shrink(data, (data.shape[0], data.shape[1]), largest_side, mask)
    sky = as_picture(stretch(_mended(small)), largest_side, enlarge=True).convert("RGB")
    legend = _draw_sources(sky, sources, small, data.shape) if sources is not None else []
    if wcs is not None:
        to_sky = _arcsec_per_pixel(wcs, data.shape)
        _draw_compass(sky, to_sky)
        _draw_scale_bar(sky, math.hypot(*to_sky[:, 0]) * data.shape[1] / sky.width)
    picture = Image.new("RGB", (sky.width, TITLE_HEIGHT + sky.height), BACKGROUND)
    picture.paste(sky, (0, TITLE_HEIGHT))
    _draw_title(picture, title, legend)
    return picture.quantize(palette=_palette(), dither=Image.Dither.NONE)


# ------------------------------------------------------------------------------------------- from pixels to shades


def shrink(
    rows: Any, shape: tuple[int, int], largest_side: int, mask: Rows | None = None
) -> NDArray[np.float32]:
    """Bin an image as far as it stays at least as large as the picture, block by block: never is it held as a whole.

    Parameters
    ----------
    rows : object
        Gives rows of the image when it is indexed by a slice.
    shape : tuple of int
        Rows and columns, (ny, nx).
    largest_side : int
        Of the picture, pixels. The longer side of the result is less than twice as long.
    mask : Rows of uint8, optional
        Bits of `PixelFlag`; pixels with others than SATURATED do not count.

    Returns
    -------
    array (ny', nx') of float32
        Mean of the finite pixels of each square block, NaN where there are none. A last block that is not full
        counts what it has.
    """
    block = max(max(shape) // largest_side, 1)
    small = []
    for tile in tiles_of(shape[0], block * max(_BAND // block, 1)):
        band = np.asarray(rows[tile], np.float32)
        good = np.isfinite(band)
        if mask is not None:
            good &= (mask[tile] & _WORTHLESS) == 0
        total = _sum_blocks(np.where(good, band, np.float32(0)), block)
        count = _sum_blocks(good.astype(np.float32), block)
        small.append(np.where(count > 0, total / np.maximum(count, 1), np.float32(np.nan)))
    return np.concatenate(small)


def stretch(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Turn pixel values into shades of grey by an arcsinh, cut at IRAF's zscale or, if that is further up, by noise.

    Parameters
    ----------
    image : array (ny, nx) of float
        Any unit; NaN where there is no value.

    Returns
    -------
    array (ny, nx) of uint8
        0 to 255, the last row of the image first, as pictures want it. What has no value is black.
    """
    finite = np.isfinite(image)
    if not finite.any():
        return np.zeros(image.shape, np.uint8)
    low, high = _cuts(image[finite])
    unit = np.clip((np.where(finite, image, low) - low) / max(high - low, _TINY), 0, 1)
    shades: NDArray[np.uint8] = np.rint(255 * AsinhStretch()(unit)).astype(np.uint8)
    return shades[::-1]


def _cuts(values: NDArray[np.float32]) -> tuple[float, float]:
    """Return the values that are black and white."""
    low, high = map(float, ZScaleInterval().get_limits(values))
    sample = values[np.newaxis, :: max(values.size // _SAMPLE, 1)]
    level, noise = sky_level(sample), sky_noise(sample)
    darkest, brightest = level + DARK_SIGMA * noise, level + BRIGHT_SIGMA * noise
    return max(low, darkest), max(high, brightest, float(np.percentile(values, BRIGHT_PERCENTILE)))


def as_picture(shades: NDArray[np.uint8], largest_side: int, *, enlarge: bool = False) -> Image.Image:
    """Return shades (ny, nx) as a grey picture whose longer side has `largest_side` pixels at most."""
    picture = Image.fromarray(shades)
    longer = max(picture.size)
    if longer > largest_side:
        width, height = (max(round(side * largest_side / longer), 1) for side in picture.size)
        return picture.resize((width, height), Image.Resampling.HAMMING)
    times = largest_side // longer if enlarge else 1
    return picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)


def encode_png(picture: Image.Image) -> bytes:
    """Encode a picture as PNG; the same picture gives the same bytes."""
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=4)  # noise hardly gets smaller than this, only slower
    return file.getvalue()


def _sum_blocks(band: NDArray[np.float32], block: int) -> NDArray[np.float32]:
    return _sum_lines(_sum_lines(band, block).T, block).T


def _sum_lines(plane: NDArray[np.float32], block: int) -> NDArray[np.float32]:
    """Add up so many rows each; much faster than ``add.reduceat``."""
    total = plane[::block].copy()
    for step in range(1, block):
        part = plane[step::block]
        total[: len(part)] += part
    return total


def _mended(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Put the mean of its eight neighbours in the place of a pixel without value, if any of them has one."""
    row, column = np.nonzero(~np.isfinite(image))
    around = np.pad(image, 1, constant_values=np.nan)
    near = np.stack([around[row + down, column + right] for down in range(3) for right in range(3)])
    known = np.isfinite(near)
    count = known.sum(axis=0)
    mended = image.copy()
    mended[row, column] = np.where(
        count > 0, np.where(known, near, 0).sum(axis=0) / np.maximum(count, 1), np.float32(np.nan)
    )
    return mended


# ------------------------------------------------------------------------------------------------ what is drawn


def _draw_sources(
    sky: Image.Image, sources: Sources, image: NDArray[np.float32], shape: tuple[int, ...]
) -> list[tuple[str, Colour]]:
    """Draw circles around the brightest sources; return what they mean, in their colours."""
    x, y, flags = (np.asarray(column) for column in sources)
    right, up = (x + 0.5) / shape[1], (y + 0.5) / shape[0]  # shares of the sides
    inside = np.flatnonzero((right >= 0) & (right < 1) & (up >= 0) & (up < 1))
    brightness = image[
        (up[inside] * image.shape[0]).astype(int), (right[inside] * image.shape[1]).astype(int)
    ]
    brightest = inside[np.argsort(-np.nan_to_num(brightness, nan=-np.inf), kind="stable")[:MOST_CIRCLES]]
    for index in brightest[::-1]:  # the brightest on top
        column, row = int(right[index] * sky.width), int((1 - up[index]) * sky.height)
        _paste_ring(sky, column, row, FLAGGED if flags[index] else GOOD)
    legend = [(f"{len(brightest)} of {len(x)} sources", GOOD)]
    return [*legend, ("flagged", FLAGGED)] if flags[brightest].any() else legend


def _paste_ring(sky: Image.Image, column: int, row: int, colour: Colour) -> None:
    for ring, ink in zip(_rings(), (BACKGROUND, colour), strict=True):
        sky.paste(ink, (column - ring.width // 2, row - ring.height // 2), ring)


@cache
def _rings() -> tuple[Image.Image, Image.Image]:
    """Return a dark ring that lifts a circle off bright ground, and the circle: how much of each pixel they cover."""
    side = 2 * _RADIUS + 5
    middle, radius = side * _SHARPER / 2, _RADIUS * _SHARPER
    rings = []
    for width, strength in ((3.5, 160), (1.4, 255)):
        ring = Image.new("L", (side * _SHARPER, side * _SHARPER))
        outer, inner = radius + width * _SHARPER / 2, radius - width * _SHARPER / 2
        draw = ImageDraw.Draw(ring)
        draw.circle((middle - 0.5, middle - 0.5), outer, fill=strength)
        draw.circle((middle - 0.5, middle - 0.5), inner, fill=0)
        rings.append(ring.reduce(_SHARPER))
    return rings[0], rings[1]


def _arcsec_per_pixel(wcs: WCS, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return how far one pixel along x, and one along y (columns), leads to the east and to the north (rows)."""
    middle_x, middle_y = (shape[1] - 1) / 2, (shape[0] - 1) / 2
    points = wcs.pixel_to_world([middle_x, middle_x + 1, middle_x], [middle_y, middle_y, middle_y + 1])
    if not isinstance(points, SkyCoord):
        raise BadParameters("the WCS of a picture must lead from two pixel axes to the sky")
    points = points.icrs
    east, north = points[0].spherical_offsets_to(points[1:])
    to_sky: NDArray[np.float64] = np.array([east.arcsec, north.arcsec])
    if not np.linalg.det(to_sky) or not np.isfinite(to_sky).all():
        raise BadParameters("the WCS of a picture does not lead to the sky at its centre")
    return to_sky


def _draw_compass(sky: Image.Image, to_sky: NDArray[np.float64]) -> None:
    """Draw two arrows in the lower right corner, where north and where east are, if there is room for them."""
    reach = _ARM + _TEXT_SIZE
    if min(sky.size) < 2 * (_MARGIN + reach):
        return
    origin = np.array([sky.width - _MARGIN - reach, sky.height - _MARGIN - reach], float)
    for name, direction in zip("EN", np.linalg.inv(to_sky).T, strict=True):
        arm = direction * (1, -1) / np.hypot(*direction)  # rows of a picture go down
        _paste_lines(sky, origin, _arrow(arm))
        _draw_text(sky, origin + arm * (_ARM + _TEXT_SIZE / 2 + 2), name, anchor="mm")


def _arrow(arm: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return the lines of an arrow along a unit vector, from the origin, as (n, 2) points."""
    across = np.array([-arm[1], arm[0]])
    tip, neck = arm * _ARM, arm * (_ARM - 9)
    return [np.array([0 * arm, tip]), np.array([neck + 4 * across, tip, neck - 4 * across])]


def _paste_lines(sky: Image.Image, origin: NDArray[np.float64], lines: list[NDArray[np.float64]]) -> None:
    """Draw lines with smooth edges, in white on a dark rim; the points are relative to the origin."""
    half = _ARM + 6
    left, top = (math.floor(value) - half for value in origin)
    for width, ink in ((5, BACKGROUND), (2, TEXT)):
        cover = Image.new("L", (2 * half * _SHARPER, 2 * half * _SHARPER))
        draw = ImageDraw.Draw(cover)
        for points in lines:
            placed = (points + origin - (left, top) + 0.5) * _SHARPER
            draw.line([tuple(point) for point in placed], fill=255, width=width * _SHARPER, joint="curve")
        sky.paste(ink, (left, top), cover.reduce(_SHARPER))


def _draw_scale_bar(sky: Image.Image, arcsec_per_pixel: float) -> None:
    """Draw a bar of a round angle in the lower left corner, with its length, if there is room for it."""
    longest = LONGEST_BAR * sky.width * arcsec_per_pixel
    angle = max((angle for angle in ROUND_ANGLES if angle <= longest), default=0)
    length = round(angle / arcsec_per_pixel)
    if length < _SHORTEST_BAR:
        return
    left, bottom = _MARGIN, sky.height - _MARGIN
    draw = ImageDraw.Draw(sky)
    draw.rectangle((left - 2, bottom - 5, left + length + 1, bottom + 1), fill=BACKGROUND)
    draw.rectangle((left, bottom - 3, left + length - 1, bottom - 1), fill=TEXT)
    _draw_text(sky, np.array([left + length / 2, bottom - 9]), _angle_in_words(angle), anchor="mb")


def _angle_in_words(arcsec: float) -> str:
    for unit, name in ((3600, "deg"), (60, "arcmin")):
        if arcsec >= unit:
            return f"{arcsec / unit:g} {name}"
    return f"{arcsec:g} arcsec"


def _draw_title(picture: Image.Image, title: str, legend: list[tuple[str, Colour]]) -> None:
    """Write the title at the left of the first line, and the legend at its right."""
    font, draw, middle = draw_font(), ImageDraw.Draw(picture), TITLE_HEIGHT / 2
    right = picture.width - 8.0
    for words, colour in reversed(legend):
        draw.text((right, middle), words, colour, font, anchor="rm")
        right -= font.getlength(words) + 12
    text = _shortened(printable(title), right - 8)
    draw.text((8, middle), text, TEXT, font, anchor="lm")


def _draw_text(sky: Image.Image, at: NDArray[np.float64], text: str, anchor: str) -> None:
    ImageDraw.Draw(sky).text(
        (float(at[0]), float(at[1])),
        text,
        TEXT,
        draw_font(),
        anchor=anchor,
        stroke_width=2,
        stroke_fill=BACKGROUND,
    )


def printable(text: str) -> str:
    """Write a text on one line and without accents: the font that comes with Pillow has none."""
    bare = (c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return "".join(" " if c.isspace() else c if "!" <= c <= "~" else "?" for c in bare)


def _shortened(text: str, width: float) -> str:
    """Cut a text that is longer than so many pixels."""
    if draw_font().getlength(text) <= width:
        return text
    fitting = (text[:end] + "..." for end in range(len(text), 0, -1))
    return next((cut for cut in fitting if draw_font().getlength(cut) <= width), "")


@cache
def draw_font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font of all that is written on pictures."""
    return ImageFont.load_default(_TEXT_SIZE)


@cache
def _palette() -> Image.Image:
    """Return an image with the colours of a picture: shades of grey, and what blends the others with their rims."""
    greys = np.repeat(np.linspace(0, 255, 64)[:, np.newaxis], 3, axis=1)
    part = np.linspace(0, 1, 97)[1:, np.newaxis]
    blends = [BACKGROUND + part * (np.array(colour) - BACKGROUND) for colour in (GOOD, FLAGGED)]
    colours = np.rint(np.concatenate([greys, *blends])).astype(np.uint8)
    palette = Image.new("P", (1, 1))
    palette.putpalette(colours.tobytes())
    return palette


def _require_usable(data: Rows, mask: Rows | None, largest_side: int) -> None:
    if len(data.shape) != 2 or not min(data.shape):
        raise WrongGeometry(f"an array of {tuple(data.shape)} is not a frame that can be drawn")
    if mask is not None and tuple(mask.shape) != tuple(data.shape):
        raise WrongGeometry(f"the mask has {tuple(mask.shape)} pixels, the frame {tuple(data.shape)}")
    if largest_side < 1:
        raise BadParameters(f"a picture cannot have {largest_side} pixels on its longer side")
