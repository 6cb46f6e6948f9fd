"""Sorting many short lists at once: the values of each pixel in a stack of frames.

A sorting network (Batcher's odd-even merge sort; Knuth, The Art of Computer Programming 3, 5.3.4) is
a fixed order of comparisons, the same whatever the values. So one comparison of two whole arrays, a
minimum and a maximum, does that step for all pixels. Where only some ranks are wanted, the
comparisons that they do not depend on are left out.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = list[NDArray[Any]]


def order_values(values: Values, ranks: tuple[int, ...]) -> Values:
    """Order the n-th elements of all arrays, for every n.

    Parameters
    ----------
    values : list of ndarray
        Arrays of one shape and one type, in native byte order; they are not changed.
    ranks : tuple of int
        The ranks wanted, 0 for the smallest value.

    Returns
    -------
    list of ndarray
        In place ``rank`` the values of that rank; what is in the places not asked for has no meaning.
        A NaN spreads to every rank.
    """
    wires = list(values)
    own = [False] * len(wires)
    spare: Values = []
    for low, high, low_needed, high_needed in sorting_network(len(values), ranks):
        one, other = wires[low], wires[high]
        free = [wires[wire] for wire in (low, high) if own[wire]]
        if low_needed and high_needed:
            smaller = spare.pop() if spare else np.empty_like(one)
            larger = free.pop() if free else np.empty_like(one)
            wires[low] = np.minimum(one, other, out=smaller)
            wires[high] = np.maximum(one, other, out=larger)
            own[low] = own[high] = True
        elif low_needed:
            wires[low] = np.minimum(one, other, out=free.pop() if free else np.empty_like(one))
            own[low] = True
        else:
            wires[high] = np.maximum(one, other, out=free.pop() if free else np.empty_like(one))
            own[high] = True
        spare += free
    return wires


def median_of(values: Values) -> NDArray[Any]:
    """Return the n-th elements' median, for every n, of an odd number of arrays."""
    middle = len(values) // 2
    return order_values(values, (middle,))[middle]


@cache
def sorting_network(count: int, wanted: tuple[int, ...]) -> tuple[tuple[int, int, bool, bool], ...]:
    """Return the comparisons that bring the `wanted` ranks of `count` values into place.

    Returns
    -------
    tuple of (low, high, low_is_needed, high_is_needed)
        Compare wires `low` and `high`, leave the smaller value on `low` and the larger on `high`.
    """
    needed = set(wanted)
    kept = []
    for low, high in reversed(_odd_even_merge_sort(count)):
        low_needed, high_needed = low in needed, high in needed
        if low_needed or high_needed:
            kept.append((low, high, low_needed, high_needed))
            needed |= {low, high}
    return tuple(reversed(kept))


def _odd_even_merge_sort(count: int) -> list[tuple[int, int]]:
    comparisons: list[tuple[int, int]] = []
    block = 1
    while block < count:
        step = block
        while step:
            for first in range(step % block, count - step, 2 * step):
                comparisons += [
                    (low, low + step)
                    for low in range(first, min(first + step, count - step))
                    if low // (2 * block) == (low + step) // (2 * block)
                ]
            step //= 2
        block *= 2
    return comparisons
