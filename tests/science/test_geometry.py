from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toros.errors import BadProfile, WrongGeometry
from toros.science.geometry import Amplifier, Geometry, Section, overscan_level, trim_rows


def box(top: int, bottom: int, left: int, right: int) -> Section:
    return slice(top, bottom), slice(left, right)


def mosaic(height: int = 12, width: int = 10, overscan: int = 6, across: int = 4, gap: int = 4) -> Geometry:
    """Two rows of amplifiers, each followed by its overscan columns, with a strip between the two halves."""
    pitch = width + overscan
    amplifiers = tuple(
        Amplifier(
            data=box(half * (height + gap), half * (height + gap) + height, i * pitch, i * pitch + width),
            overscan=box(
                half * (height + gap), half * (height + gap) + height, i * pitch + width, (i + 1) * pitch
            ),
            target=box(half * height, (half + 1) * height, i * width, (i + 1) * width),
            gain=1.0 + 0.1 * i + half,
            read_noise=5.0 + i,
        )
        for half in (0, 1)
        for i in range(across)
    )
    return Geometry((2 * height + gap, across * pitch), (2 * height, across * width), amplifiers)


def test_a_chip_with_nothing_to_trim_is_passed_on_untouched() -> None:
    raw = np.arange(12, dtype=np.uint16).reshape(3, 4)
    assert trim_rows(raw, Geometry.single((3, 4), gain=1.5, read_noise=8)) is raw


def test_a_chip_without_overscan_is_trimmed_by_views() -> None:
    geometry = Geometry((6, 8), (4, 5), (Amplifier(box(1, 5, 2, 7), None, box(0, 4, 0, 5), 1.0, 5.0),))
    raw = np.arange(48, dtype=np.uint16).reshape(6, 8)
    rows = trim_rows(raw, geometry)[1:3]
    assert rows.dtype == np.uint16
    assert np.shares_memory(rows, raw)
    np.testing.assert_array_equal(rows, raw[2:4, 2:7])


def test_amplifiers_that_are_stored_in_another_order_are_put_in_their_place() -> None:
    left, right = box(0, 4, 0, 3), box(0, 4, 3, 6)
    swapped = Geometry(
        (4, 6), (4, 6), (Amplifier(left, None, right, 1, 5), Amplifier(right, None, left, 1, 5))
    )
    raw = np.arange(24, dtype=np.int16).reshape(4, 6)
    rows = trim_rows(raw, swapped)[0:4]
    assert rows.dtype == np.int16
    np.testing.assert_array_equal(rows, np.hstack([raw[:, 3:], raw[:, :3]]))


def test_the_overscan_level_of_each_amplifier_and_row_is_subtracted() -> None:
    geometry = mosaic()
    sky = np.random.default_rng(1).integers(0, 500, geometry.shape).astype(np.uint16)
    raw = np.full(geometry.raw_shape, 7777, np.uint16)
    for number, amplifier in enumerate(geometry.amplifiers):
        level = (1000 + 100 * number + np.arange(12))[:, np.newaxis]
        raw[amplifier.data] = sky[amplifier.target] + level
        assert amplifier.overscan is not None
        raw[amplifier.overscan] = level
    trimmed = trim_rows(raw, geometry)
    assert trimmed.shape == (24, 40)
    for rows in (slice(0, 24), slice(5, 7), slice(9, 16), slice(23, 24)):
        assert trimmed[rows].dtype == np.float32
        np.testing.assert_array_equal(trimmed[rows], sky[rows])


@given(st.integers(0, 24), st.integers(0, 24))
def test_any_cut_of_rows_equals_the_same_cut_of_the_whole_frame(start: int, stop: int) -> None:
    geometry = mosaic()
    raw = np.random.default_rng(2).integers(0, 60000, geometry.raw_shape).astype(np.uint16)
    trimmed = trim_rows(raw, geometry)
    np.testing.assert_array_equal(trimmed[start:stop], trimmed[0:24][start:stop])


def test_toros_trims_its_raw_frame_to_the_full_chip() -> None:
    geometry = mosaic(height=5280, width=1320, overscan=180, across=8, gap=40)
    assert geometry.raw_shape == (10600, 12000)
    assert geometry.shape == (10560, 10560)
    assert len(geometry.amplifiers) == 16


def test_the_overscan_level_is_blind_to_a_bleeding_star_and_nearly_as_sharp_as_the_mean() -> None:
    rng = np.random.default_rng(3)
    overscan = rng.normal(1000, 5, (4000, 180))
    level = overscan_level(overscan)
    assert abs(level.mean() - 1000) < 0.02
    assert level.std() < 1.15 * 5 / np.sqrt(180)
    overscan[:, :30] += 500
    assert abs(overscan_level(overscan).mean() - 1000) < 0.3 * 5


def test_gain_and_read_noise_of_every_pixel_follow_the_amplifiers() -> None:
    geometry = mosaic()
    gain = geometry.plane("gain", slice(10, 14))
    assert gain.shape == (4, 40)
    assert gain[0, 0] == pytest.approx(1.0)
    assert gain[1, 39] == pytest.approx(1.3)
    assert gain[2, 0] == pytest.approx(2.0)
    assert geometry.plane("read_noise", slice(0, 1))[0, 35] == 8.0


def test_a_frame_of_another_size_than_its_camera_is_refused() -> None:
    with pytest.raises(WrongGeometry, match=r"\(3, 5\)"):
        trim_rows(np.zeros((3, 5)), Geometry.single((3, 4), 1.0, 5.0))


def test_rows_are_not_read_in_steps() -> None:
    with pytest.raises(ValueError, match="steps of 2"):
        trim_rows(np.zeros((28, 64), np.uint16), mosaic())[0:10:2]


WHOLE = box(0, 4, 0, 6)


@pytest.mark.parametrize(
    ("amplifiers", "complaint"),
    [
        ([], "at least one amplifier"),
        ([(WHOLE, None, WHOLE, 0.0, 5.0)], "gain"),
        ([(WHOLE, None, WHOLE, float("nan"), 5.0)], "gain"),
        ([(WHOLE, None, WHOLE, 1.0, -1.0)], "read noise"),
        ([(WHOLE, None, box(0, 4, 0, 5), 1.0, 5.0)], "another size"),
        ([(box(0, 4, 1, 7), None, WHOLE, 1.0, 5.0)], "outside the raw frame"),
        ([(WHOLE, box(0, 3, 4, 6), WHOLE, 1.0, 5.0)], "beside"),
        ([(WHOLE, box(0, 4, 6, 9), WHOLE, 1.0, 5.0)], "outside the raw frame"),
        ([(box(0, 4, 0, 3), None, box(0, 4, 0, 3), 1.0, 5.0)], "cover 12 of the 24"),
        ([(WHOLE, None, WHOLE, 1.0, 5.0), (box(0, 2, 0, 2), None, box(0, 2, 0, 2), 1.0, 5.0)], "overlap"),
        ([((slice(None), slice(0, 6)), None, WHOLE, 1.0, 5.0)], "start, a stop"),
        (
            [
                (box(0, 4, 0, 2), box(0, 4, 4, 6), box(0, 4, 0, 2), 1.0, 5.0),
                (box(0, 4, 2, 6), None, box(0, 4, 2, 6), 1.0, 5.0),
            ],
            "for all, or for none",
        ),
    ],
)
def test_a_geometry_that_cannot_be_is_refused(amplifiers: list[tuple], complaint: str) -> None:
    with pytest.raises(BadProfile, match=complaint):
        Geometry((4, 6), (4, 6), tuple(Amplifier(*amplifier) for amplifier in amplifiers))
