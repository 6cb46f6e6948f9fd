"""A contact sheet: frame, reference and difference around each candidate, side by side, for a person to judge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from toros.errors import WrongGeometry
from toros.science.picture import BACKGROUND, TEXT, draw_font, printable, stretch

STAMP_SIDE = 126
"""Pixels of a stamp on the sheet."""

COLUMNS = 3
_GAP = 6
_TRIPLET = 3 * STAMP_SIDE + 2 * _GAP
_LINES = 42
_LINE = 17
_TITLE = 28


def draw_contact_sheet(stamps: NDArray[np.float32], captions: Sequence[str], *, title: str) -> Image.Image:
    """Draw stamps in triplets, each with a caption of two lines at most, three triplets a row.

    Parameters
    ----------
    stamps : ndarray of float32, shape (n, 3, side, side)
        Of the frame, of the reference and of the difference around n candidates; NaN where there is no value. Frame
        and reference share one stretch above their skies, so that what is new is seen.
    captions : sequence of str
        One for each.
    title : str
        Of the sheet.

    Returns
    -------
    PIL.Image.Image
        In shades of grey; north is where it is in the frame.

    Raises
    ------
    WrongGeometry
        The stamps are no triplets, or there are not as many captions.
    """
    if stamps.ndim != 4 or len(captions) != len(stamps):
        raise WrongGeometry(f"{len(captions)} captions for stamps of {stamps.shape}")
    columns = min(max(len(stamps), 1), COLUMNS)
    rows = max(1, -(-len(stamps) // COLUMNS))
    width, height = _TRIPLET + 3 * _GAP, STAMP_SIDE + _LINES
    sheet = Image.new("L", (columns * width + _GAP, _TITLE + rows * height), BACKGROUND[0])
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, _TITLE / 2), printable(title), TEXT[0], draw_font(), anchor="lm")
    for number, (triplet, caption) in enumerate(zip(stamps, captions, strict=True)):
        left = _GAP + number % COLUMNS * width
        top = _TITLE + number // COLUMNS * height
        sheet.paste(draw_stamps(triplet), (left, top))
        for line, words in enumerate(caption.splitlines()[:2]):
            at = (left, top + STAMP_SIDE + 1 + line * _LINE)
            draw.text(at, printable(words), TEXT[0], draw_font())
    return sheet


def draw_stamps(triplet: NDArray[np.float32]) -> Image.Image:
    """Draw frame, reference and difference around one place, side by side.

    Parameters
    ----------
    triplet : ndarray of float32, shape (3, side, side)
        As one of those of `draw_contact_sheet`.

    Returns
    -------
    PIL.Image.Image
        In shades of grey; each stamp has `STAMP_SIDE` pixels.

    Raises
    ------
    WrongGeometry
        These are not three stamps.
    """
    if triplet.ndim != 3 or len(triplet) != 3 or not triplet.size:
        raise WrongGeometry(f"an array of {triplet.shape} is not frame, reference and difference")
    drawn = Image.new("L", (_TRIPLET, STAMP_SIDE), BACKGROUND[0])
    for place, shades in enumerate(_shades(triplet)):
        stamp = Image.fromarray(shades).resize((STAMP_SIDE, STAMP_SIDE), Image.Resampling.NEAREST)
        drawn.paste(stamp, (place * (STAMP_SIDE + _GAP), 0))
    return drawn


def _shades(triplet: NDArray[np.float32]) -> list[NDArray[np.uint8]]:
    """Return frame and reference with one stretch, and the difference with its own."""
    frame, reference, difference = triplet
    # The sky is in the frame and not in the reference; and the last rows come first.
    both = stretch(np.concatenate([_above_sky(reference), _above_sky(frame)]))
    side = len(frame)
    return [both[:side], both[side:], stretch(difference)]


def _above_sky(stamp: NDArray[np.float32]) -> NDArray[np.float32]:
    known = stamp[np.isfinite(stamp)]
    return stamp - np.median(known) if known.size else stamp
