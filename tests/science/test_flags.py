from __future__ import annotations

import numpy as np

from toros.science.flags import PixelFlag, is_flagged, raise_flag


def test_the_flags_are_bits_that_never_change_and_fit_a_mask_plane() -> None:
    assert {flag.name: flag.value for flag in PixelFlag} == {
        "HOT": 1,
        "DEAD": 2,
        "NOISY": 4,
        "SATURATED": 8,
        "COSMIC_RAY": 16,
        "NO_DATA": 32,
    }


def test_flags_are_added_to_a_mask_and_found_again() -> None:
    plane = np.array([0, PixelFlag.HOT, 0, PixelFlag.DEAD], np.uint8)
    raise_flag(plane, np.array([True, True, False, False]), PixelFlag.SATURATED)
    assert plane.tolist() == [8, 9, 0, 2]
    assert is_flagged(plane, PixelFlag.SATURATED).tolist() == [True, True, False, False]
    assert is_flagged(plane, PixelFlag.HOT | PixelFlag.DEAD).tolist() == [False, True, False, True]
    raise_flag(plane, plane == 0, PixelFlag.NO_DATA | PixelFlag.COSMIC_RAY)
    assert plane.dtype == np.uint8
    assert plane[2] == 48
