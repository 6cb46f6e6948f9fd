from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toros.science.sorting import median_of, order_values, sorting_network


@pytest.mark.parametrize("count", [*range(1, 17), 20, 33])
def test_the_network_sorts_every_order_of_zeros_and_ones(count: int) -> None:
    """A network that sorts all sequences of zeros and ones sorts everything (Knuth, 5.3.4)."""
    if count <= 12:
        wires = np.array(list(itertools.product([0, 1], repeat=count))).T.copy()
    else:
        wires = np.random.default_rng(count).integers(0, 2, (count, 20000))
    truth = np.sort(wires, axis=0)
    for low, high, _, _ in sorting_network(count, tuple(range(count))):
        wires[low], wires[high] = np.minimum(wires[low], wires[high]), np.maximum(wires[low], wires[high])
    np.testing.assert_array_equal(wires, truth)


@given(
    st.integers(1, 60).flatmap(lambda count: st.tuples(st.just(count), st.sets(st.integers(0, count - 1))))
)
def test_the_ranks_asked_for_are_in_place(count_and_ranks: tuple[int, set[int]]) -> None:
    count, ranks = count_and_ranks
    values = np.random.default_rng(count).integers(0, 30, (count, 50))
    ordered = order_values(list(values.copy()), tuple(sorted(ranks)))
    truth = np.sort(values, axis=0)
    for rank in ranks:
        np.testing.assert_array_equal(ordered[rank], truth[rank])


def test_the_arrays_given_are_not_changed() -> None:
    values = np.random.default_rng(1).integers(0, 30, (25, 50))
    given = list(values.copy())
    np.testing.assert_array_equal(median_of(given), np.median(values, axis=0))
    np.testing.assert_array_equal(given, values)


def test_a_median_needs_fewer_comparisons_than_a_full_sort() -> None:
    def steps(ranks: tuple[int, ...]) -> int:
        return sum(low + high for *_, low, high in sorting_network(20, ranks))

    assert steps((9, 10)) < 0.75 * steps(tuple(range(20)))


def test_a_nan_reaches_the_median() -> None:
    values = [np.full(3, n, np.float32) for n in range(7)]
    values[2][1] = np.nan
    assert np.isnan(median_of(values)).tolist() == [False, True, False]
