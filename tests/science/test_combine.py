from __future__ import annotations

import tracemalloc

import ccdproc
import numpy as np
import pytest
from astropy.nddata import CCDData
from astropy.stats import mad_std
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from toros.errors import BadParameters, NotFinite, TooFewFrames, WrongGeometry
from toros.science.combine import combine, combine_rows, corrected_rows, level

DTYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "f4"]


def cubes() -> st.SearchStrategy[np.ndarray]:
    return st.tuples(st.sampled_from(DTYPES), st.integers(1, 40)).flatmap(
        lambda kind_and_count: arrays(
            kind_and_count[0],
            (kind_and_count[1], 3, 4),
            elements=st.floats(-(2.0**100), 2.0**100, width=32) if kind_and_count[0] == "f4" else None,
        )
    )


@given(cubes())
@settings(deadline=None)
def test_the_median_is_that_of_numpy_for_every_type_and_number_of_frames(cube: np.ndarray) -> None:
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(combine(list(cube)).data, np.median(cube, axis=0).astype(np.float32))


@pytest.mark.parametrize("dtype", ["u2", "i2", "i4", "f4"])
@pytest.mark.parametrize("count", [3, 6, 15, 20])
def test_the_clipped_mean_is_that_of_ccdproc(dtype: str, count: int) -> None:
    rng = np.random.default_rng(count)
    cube = rng.normal(1000, 30, (count, 40, 50))
    cube[rng.random(cube.shape) < 0.01] += 5000
    frames = list(cube.astype(dtype))
    combiner = ccdproc.Combiner([CCDData(frame.astype(float), unit="adu") for frame in frames])
    combiner.sigma_clipping(low_thresh=4, high_thresh=4, func="median", dev_func=mad_std)
    expected = combiner.average_combine()
    [tile] = combine_rows(frames, method="clipped_mean", clip_sigma=4)
    distinct = (
        mad_std(np.stack(frames).astype(float), axis=0) > 0
    )  # ccdproc clips all but the median otherwise
    assert distinct.mean() > 0.95
    np.testing.assert_allclose(tile.data[distinct], expected.data[distinct], rtol=2e-7)
    kept = count - combiner.data_arr.mask.sum(axis=0)
    assert tile.n_used is not None
    np.testing.assert_array_equal(tile.n_used[distinct], kept[distinct])


@pytest.mark.parametrize("method", ["median", "clipped_mean"])
@pytest.mark.parametrize("count", [2, 3, 4, 5, 7, 8, 10, 15, 20, 32])
def test_the_stated_error_is_the_true_error(method: str, count: int) -> None:
    rng = np.random.default_rng(count)
    frames = list(rng.normal(1000, 12, (count, 150, 200)).astype(np.float32))
    master = combine(frames, method)
    true_error = np.std(master.data - 1000.0)
    stated = master.uncertainty.array
    average = np.mean(stated) if method == "median" else np.sqrt(np.mean(stated**2))
    assert average == pytest.approx(true_error, rel=0.03)


def test_a_cosmic_ray_in_two_of_twenty_darks_changes_neither_master_nor_error() -> None:
    rng = np.random.default_rng(5)
    clean = rng.normal(1000, 10, (20, 30, 40)).astype(np.uint16)
    hit = clean.copy()
    hit[3], hit[11] = 60000, 45000
    for method in ("median", "clipped_mean"):
        before, after = combine(list(clean), method), combine(list(hit), method)
        assert np.abs(after.data - before.data).max() < 10
        assert np.mean(after.uncertainty.array) == pytest.approx(np.mean(before.uncertainty.array), rel=0.3)
    [tile] = combine_rows(list(hit), method="clipped_mean")
    assert tile.n_used is not None
    assert tile.n_used.max() <= 18


def test_one_frame_is_its_own_master_of_unknown_error() -> None:
    frame = np.arange(12, dtype=np.uint16).reshape(3, 4)
    for method in ("median", "clipped_mean"):
        master = combine([frame], method)
        np.testing.assert_array_equal(master.data, frame)
        assert np.all(np.isposinf(master.uncertainty.array))


def test_equal_counts_still_have_the_error_of_rounding() -> None:
    frames = [np.full((3, 4), 1000, np.uint16)] * 12
    frames[0] = frames[0] + np.uint16(1)
    for method in ("median", "clipped_mean"):
        master = combine(frames, method)
        assert np.all(master.uncertainty.array >= np.float32(np.sqrt(1 / 12 / 12)))
        assert np.all(master.data < 1000.1)
    [tile] = combine_rows(frames, method="clipped_mean")
    assert tile.n_used is not None
    assert np.all(tile.n_used == 12), "a step of one count is never an outlier"


def test_a_camera_of_twelve_bits_that_stores_sixteen_is_not_clipped_to_its_median() -> None:
    rng = np.random.default_rng(11)
    truth, noise = 1003.0, 7.0
    frames = list((16 * np.rint(rng.normal(truth, noise, (20, 60, 70)) / 16)).astype(np.uint16))
    master = combine(frames, "clipped_mean")
    assert np.mean(master.data) == pytest.approx(truth, abs=1)
    for method in ("median", "clipped_mean"):
        assert np.min(combine(frames, method).uncertainty.array) == pytest.approx(16 / np.sqrt(12 * 20))


@given(
    kind=st.sampled_from(["u2", "f4"]),
    count=st.integers(2, 24),
    limit=st.integers(20_000, 200_000),
    method=st.sampled_from(["median", "clipped_mean"]),
)
@settings(deadline=None, max_examples=30)
def test_the_size_of_the_tiles_does_not_change_the_master(
    kind: str, count: int, limit: int, method: str
) -> None:
    frames = list(np.random.default_rng(count).integers(0, 2000, (count, 37, 50)).astype(kind))
    small, large = combine_rows(frames, method=method, memory_limit=limit), combine(frames, method)
    for tile in small:
        np.testing.assert_array_equal(tile.data, large.data[tile.rows])
        np.testing.assert_array_equal(tile.uncertainty, large.uncertainty.array[tile.rows])


@pytest.mark.parametrize("method", ["median", "clipped_mean"])
@pytest.mark.parametrize("kind", ["u2", "i4", "f4"])
@pytest.mark.parametrize("count", [2, 5, 20])
def test_the_memory_limit_is_kept(method: str, kind: str, count: int) -> None:
    frames = [np.zeros((600, 500), kind) for _ in range(count)]
    limit = 1_000_000
    list(combine_rows(frames, method=method, memory_limit=limit))
    tracemalloc.start()
    for _ in combine_rows(frames, method=method, memory_limit=limit):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < limit


def test_frames_in_the_byte_order_of_fits_are_combined_as_any_other() -> None:
    cube = np.random.default_rng(6).integers(-3000, 3000, (9, 10, 11)).astype("i2")
    for method in ("median", "clipped_mean"):
        native, swapped = combine(list(cube), method), combine(list(cube.astype(">i2")), method)
        np.testing.assert_array_equal(native.data, swapped.data)


def test_frames_of_mixed_types_are_combined_in_one_that_holds_them_all() -> None:
    cube = np.random.default_rng(6).integers(0, 30000, (5, 10, 11))
    expected = np.median(cube, axis=0).astype(np.float32)
    for kinds in (["u2", "i2"], ["u2", "f4"], ["f8", "f8"], ["i8", "u1"], ["u4", ">i4"]):
        frames = [
            (plane % 200 if "u1" in kinds else plane).astype(kinds[n % 2]) for n, plane in enumerate(cube)
        ]
        truth = np.median(np.stack(frames), axis=0).astype(np.float32) if "u1" in kinds else expected
        np.testing.assert_array_equal(combine(frames).data, truth)


def test_the_frames_are_left_as_they_were() -> None:
    cube = np.random.default_rng(7).integers(0, 3000, (12, 10, 11)).astype(np.uint16)
    frames = list(cube.copy())
    for method in ("median", "clipped_mean"):
        combine(frames, method)
    np.testing.assert_array_equal(frames, cube)


@pytest.mark.parametrize("method", ["median", "clipped_mean"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_frame_that_holds_nan_is_named(method: str, bad: float) -> None:
    frames = [np.ones((6, 5), np.float32) + n for n in range(5)]
    frames[3][4, 2] = bad
    with pytest.raises(NotFinite, match="frame 4 of 5"):
        combine(frames, method)


def test_frames_that_cannot_be_combined_are_refused() -> None:
    frame = np.zeros((4, 5), np.uint16)
    with pytest.raises(TooFewFrames):
        combine([])
    with pytest.raises(WrongGeometry, match="differ in size"):
        combine([frame, frame[:3]])
    with pytest.raises(BadParameters, match="mode"):
        combine([frame], "mode")  # type: ignore[arg-type]
    with pytest.raises(BadParameters, match="sigma"):
        combine([frame], "clipped_mean", clip_sigma=0.5)
    with pytest.raises(BadParameters, match="more than the limit"):
        list(combine_rows([frame] * 20, memory_limit=100))


def test_a_master_says_what_it_is() -> None:
    master = combine([np.ones((2, 2), np.float32)] * 3, unit="electron")
    assert master.unit == "electron"
    assert master.meta["NCOMBINE"] == 3
    assert master.uncertainty.uncertainty_type == "std"


def test_a_flat_is_corrected_and_scaled_on_its_way_into_the_master() -> None:
    rng = np.random.default_rng(8)
    raw = rng.integers(20000, 30000, (10, 12)).astype(np.uint16)
    bias, dark = np.full((10, 12), 1000, np.float32), rng.normal(2, 1, (10, 12)).astype(np.float32)
    rows = corrected_rows(raw, bias=bias, dark=dark, dark_scale=0.5, scale=1 / 24000)
    assert rows.shape == raw.shape
    assert rows[2:5].dtype == np.float32
    np.testing.assert_allclose(rows[2:5], ((raw - bias - 0.5 * dark) / 24000)[2:5], rtol=1e-6)
    np.testing.assert_array_equal(corrected_rows(raw)[0:10], raw)
    with pytest.raises(WrongGeometry, match="bias"):
        corrected_rows(raw, bias=bias[:5])


def test_flats_of_a_changing_twilight_agree_once_they_are_scaled_by_their_level() -> None:
    rng = np.random.default_rng(9)
    response = 1 - 0.2 * np.linspace(-1, 1, 200)[:, np.newaxis] ** 2 * np.ones(300)
    flats = [rng.poisson(light * response).astype(np.float32) for light in (10000, 17000, 30000)]
    region = (slice(80, 120), slice(100, 200))
    master = combine([corrected_rows(flat, scale=1 / level(flat, region)) for flat in flats], "clipped_mean")
    assert np.std(master.data / response) < 0.01
    assert np.median(master.data[region]) == pytest.approx(1, abs=0.002)


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40))
def test_the_level_of_any_region_is_close_to_its_median(height: int, width: int, step: int) -> None:
    frame = np.random.default_rng(10).normal(500, 5, (100, 100)).astype(np.float32)
    region = (slice(5, 5 + height), slice(7, 7 + width))
    assert level(frame, region, step=step) == pytest.approx(np.median(frame[region]), abs=1)


def test_a_level_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(NotFinite):
        level(np.full((40, 50), np.nan))


def test_the_level_of_an_empty_region_is_refused() -> None:
    with pytest.raises(BadParameters, match="no pixel"):
        level(np.ones((4, 4)), (slice(2, 2), slice(0, 4)))
