"""Losses are listed in order of acceptance, in whatever order they become known."""

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flushq.core.losses import Losses, LossList


@given(runs=st.permutations(range(6)), sizes=st.lists(st.integers(1, 3), min_size=6, max_size=6))
def test_losses_are_in_order_of_acceptance(runs: list[int], sizes: list[int]) -> None:
    """Runs of losses that become known in any order are listed in order, in the same list."""
    losses: LossList[int] = LossList()
    listed = losses.items
    known: set[int] = set()
    for run in runs:
        numbers = range(3 * run, 3 * run + sizes[run])
        losses.add(numbers, [-number for number in numbers])
        known.update(numbers)
        assert [-number for number in sorted(known)] == losses.items
        assert (min(known), len(known)) == (losses.first, losses.count)
    assert listed is losses.items


def test_what_was_taken_out_of_the_lists_was_lost_all_the_same() -> None:
    """If a user empties the list, count and position do not change, and later losses are added."""
    losses: Losses[int] = Losses()
    losses.in_doubt.add([3, 4], [3, 4])
    losses.in_doubt.items.clear()
    assert (2, 3, True) == (losses.in_doubt.count, losses.first, bool(losses))
    losses.in_doubt.add([7], [7])
    assert [7] == losses.in_doubt.items


def inverse_of(number: int) -> float:
    """Return 1 / number, or raise KeyboardInterrupt for 0."""
    if not number:
        raise KeyboardInterrupt
    return 1 / number


def test_what_a_lost_item_is_listed_as() -> None:
    """A lost item is listed as the result of lost_as, or as itself without one or if it raises."""
    plain, shown, inverse = Losses[Any](), Losses[Any](str), Losses[Any](inverse_of)
    for losses in plain, shown, inverse:
        losses.undelivered.add([1, 2], [0, 2])
        losses.in_doubt.add([3], [4])
    assert ([0, 2], [4]) == (plain.undelivered.items, plain.in_doubt.items)
    assert (["0", "2"], ["4"]) == (shown.undelivered.items, shown.in_doubt.items)
    assert ([0, 0.5], [0.25]) == (inverse.undelivered.items, inverse.in_doubt.items)


def test_both_kinds_are_losses() -> None:
    """Items of both lists are losses, and ``first`` is the smallest number of both."""
    losses: Losses[int] = Losses()
    assert (False, math.inf) == (bool(losses), losses.first)
    losses.undelivered.add([3], [3])
    assert (True, 3) == (bool(losses), losses.first)
    losses.in_doubt.add([2], [2])
    assert 2 == losses.first
