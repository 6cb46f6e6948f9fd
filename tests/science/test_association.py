from __future__ import annotations

import numpy as np
import pytest

from toros.errors import BadParameters
from toros.science.association import associate_detections

ARCSEC = 1 / 3600


def seen_again(seed: int, objects: int = 60, epochs: int = 5, ra: float = 0.0) -> dict[str, np.ndarray]:
    """Objects on a grid a minute of arc wide, about RA 0, each seen at most epochs."""
    rng = np.random.default_rng(seed)
    number = np.tile(np.arange(objects), epochs)
    time = np.repeat(np.arange(epochs) / 3.0, objects)
    kept = rng.random(number.size) < 0.8
    number, time = number[kept], time[kept]
    scatter = rng.normal(0, 0.2 * ARCSEC, (2, number.size))
    return {
        "number": number,
        "time": time,
        "ra": (ra + (number % 8 - 4) / 60 + scatter[0]) % 360,
        "dec": -30 + number // 8 / 60 + scatter[1],
    }


def partition(objects: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(objects == one).tolist()) for one in np.unique(objects)}


def test_new_objects_are_the_true_ones() -> None:
    sky = seen_again(1)
    found = associate_detections([], [], sky["ra"], sky["dec"], sky["time"], 1.0)
    assert partition(found) == partition(sky["number"])
    assert sorted(set(found)) == list(range(np.unique(sky["number"]).size))


def test_known_objects_keep_their_numbers() -> None:
    sky = seen_again(2)
    known = np.arange(0, 40)
    found = associate_detections(
        (known % 8 - 4) / 60 % 360, -30 + known // 8 / 60, sky["ra"], sky["dec"], sky["time"], 1.0
    )
    is_known = sky["number"] < 40
    np.testing.assert_array_equal(found[is_known], sky["number"][is_known])
    assert found[~is_known].min() == 40
    assert partition(found) == partition(sky["number"])


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_rows_does_not_matter(seed: int) -> None:
    sky = seen_again(3)
    order = np.random.default_rng(seed).permutation(sky["number"].size)
    straight, mixed = (
        associate_detections([0.0], [-30.0], sky["ra"][rows], sky["dec"][rows], sky["time"][rows], 1.0)
        for rows in (slice(None), order)
    )
    np.testing.assert_array_equal(straight[order], mixed)


def test_night_after_night_gives_the_same_objects_as_all_at_once() -> None:
    sky = seen_again(4)
    at_once = associate_detections([], [], sky["ra"], sky["dec"], sky["time"], 1.0)
    ra, dec, objects = np.zeros(0), np.zeros(0), np.empty(sky["number"].size, int)
    for time in np.unique(sky["time"]):
        night = sky["time"] == time
        objects[night] = associate_detections(
            ra, dec, sky["ra"][night], sky["dec"][night], sky["time"][night], 1.0
        )
        new = np.flatnonzero(night)[objects[night] >= ra.size]
        new = new[np.argsort(objects[new])]
        ra, dec = np.append(ra, sky["ra"][new]), np.append(dec, sky["dec"][new])
    assert partition(objects) == partition(at_once)


def test_of_two_detections_in_one_frame_the_nearer_is_the_object() -> None:
    found = associate_detections([10.0], [0.0], [10 + 0.5 * ARCSEC, 10 + 0.1 * ARCSEC], [0, 0], [1, 1], 1.0)
    assert found.tolist() == [1, 0]


def test_no_detections_are_no_objects() -> None:
    assert associate_detections([1.0], [2.0], [], [], [], 1.0).size == 0


def test_a_radius_of_nothing_is_refused() -> None:
    with pytest.raises(BadParameters, match="arcsec"):
        associate_detections([], [], [1.0], [1.0], [1.0], 0.0)
