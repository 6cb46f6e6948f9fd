"""A contact sheet shows what is new beside what was there, in a way that a person can judge."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from toros.errors import WrongGeometry
from toros.science.contact_sheet import COLUMNS, STAMP_SIDE, draw_contact_sheet, draw_stamps

SIDE = 21
MIDDLE = SIDE // 2
BETWEEN = 6
"""Pixels between stamps."""


def triplet(sky: float = 0.0, seed: int = 1) -> NDArray[np.float32]:
    """An old star left of the middle, and a new one in it: frame, reference, difference."""
    stamps = np.random.default_rng(seed).normal(0, 5, (3, SIDE, SIDE)).astype(np.float32)
    stamps[:2, MIDDLE, 4] += 400
    stamps[[0, 2], MIDDLE, MIDDLE] += 400
    stamps[0] += sky
    return stamps


def planes(stamps: NDArray[np.float32]) -> list[NDArray[np.uint8]]:
    """Return the three stamps of a drawing, one shade for each of their pixels."""
    drawn = np.asarray(draw_stamps(stamps))
    centres = ((np.arange(SIDE) + 0.5) * STAMP_SIDE / SIDE).astype(int)
    return [
        drawn[:, place * (STAMP_SIDE + BETWEEN) :][np.ix_(centres, centres)] for place in range(len(stamps))
    ]


def test_what_is_new_is_bright_in_the_frame_and_in_the_difference_only() -> None:
    frame, reference, difference = planes(triplet())
    assert min(frame[MIDDLE, MIDDLE], difference[MIDDLE, MIDDLE]) > 240
    assert reference[MIDDLE, MIDDLE] < 100
    assert difference[MIDDLE, 4] < 100


def test_an_old_star_is_equally_bright_in_the_frame_and_in_the_reference() -> None:
    stamps = triplet()
    stamps[:2, MIDDLE, 4] = 60  # neither black nor white
    frame, reference, _ = planes(stamps)
    assert abs(int(frame[MIDDLE, 4]) - int(reference[MIDDLE, 4])) < 20
    assert 0 < reference[MIDDLE, 4] < 255


def test_a_star_looks_the_same_under_a_bright_sky() -> None:
    dark, bright = planes(triplet()), planes(triplet(sky=3000.0))
    for before, after in zip(dark, bright, strict=True):
        assert np.abs(before.astype(int) - after).max() <= 2


def test_up_is_up() -> None:
    stamps = triplet()
    stamps[2, -3, 2] = 2000
    *_, difference = planes(stamps)
    assert difference[2, 2] == 255, "the last rows of a frame are on top"


def test_what_has_no_value_is_black() -> None:
    stamps = triplet()
    stamps[:, :, -5:] = np.nan
    assert all((plane[:, -5:] == 0).all() for plane in planes(stamps))
    assert not any(plane.any() for plane in planes(np.full_like(stamps, np.nan)))


@pytest.mark.parametrize(
    ("count", "columns", "rows"), [(0, 1, 1), (1, 1, 1), (3, 3, 1), (4, 3, 2), (7, 3, 3)]
)
def test_a_sheet_is_as_large_as_its_triplets_ask_for(count: int, columns: int, rows: int) -> None:
    stamps = np.stack([triplet()] * count) if count else np.zeros((0, 3, SIDE, SIDE), np.float32)
    one = draw_contact_sheet(np.stack([triplet()]), [""], title="")
    sheet = draw_contact_sheet(stamps, [""] * count, title="light-0001.fits")
    below = draw_contact_sheet(np.stack([triplet()] * (COLUMNS + 1)), [""] * (COLUMNS + 1), title="")
    row = below.height - one.height
    assert row > STAMP_SIDE
    assert sheet.height == one.height + (rows - 1) * row
    assert columns * 3 * STAMP_SIDE < sheet.width < (columns + 0.5) * 3 * (STAMP_SIDE + BETWEEN)


def test_each_triplet_has_its_caption_below_it() -> None:
    stamps = np.zeros((4, 3, SIDE, SIDE), np.float32)
    bare = np.asarray(draw_contact_sheet(stamps, [""] * 4, title=""), int)
    told = np.asarray(draw_contact_sheet(stamps, ["", "", "", "J05\nscore 0.99"], title=""), int)
    rows, columns = np.nonzero(told != bare)
    assert rows.min() >= bare.shape[0] - 45, "below the second row of stamps"
    assert columns.max() < 3 * STAMP_SIDE, "of the first triplet in it"


def test_a_caption_has_two_lines_and_no_more_and_a_title_may_hold_anything() -> None:
    stamps = np.stack([triplet()])
    two = draw_contact_sheet(stamps, ["one\ntwo"], title="Ångström ★\n")
    more = draw_contact_sheet(stamps, ["one\ntwo\nthree"], title="Ångström ★\n")
    assert two.tobytes() == more.tobytes()


def test_the_same_stamps_give_the_same_sheet_of_which_each_part_is_as_if_alone() -> None:
    stamps = np.stack([triplet(seed=seed) for seed in (1, 2)])
    sheet = np.asarray(draw_contact_sheet(stamps, ["", ""], title=""))
    alone = np.asarray(draw_stamps(stamps[1]))
    places = np.lib.stride_tricks.sliding_window_view(sheet, alone.shape)[28]
    assert any((part == alone).all() for part in places)


@pytest.mark.parametrize(
    ("shape", "captions"),
    [((2, 3, SIDE, SIDE), 1), ((1, 2, SIDE, SIDE), 1), ((3, SIDE, SIDE), 3), ((1, 3, SIDE), 1)],
)
def test_what_is_no_set_of_triplets_is_refused(shape: tuple[int, ...], captions: int) -> None:
    with pytest.raises(WrongGeometry):
        draw_contact_sheet(np.zeros(shape, np.float32), [""] * captions, title="")


@pytest.mark.parametrize("shape", [(SIDE, SIDE), (2, SIDE, SIDE), (3, 0, 0)])
def test_what_is_no_triplet_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(WrongGeometry):
        draw_stamps(np.zeros(shape, np.float32))
