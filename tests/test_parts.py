"""The parts of a failed batch end in exactly one place each."""

import math
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, cast

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flushq.errors import PartialFailure
from flushq.outcomes import Drop, Fail, Failure, Retry, Split, Verdict
from flushq.parts import Parts
from tests.strategies import Refusal

RAISED = Refusal("raised")


def parts_of(count: int) -> Parts[int]:
    """A batch of so many items, 10, 11, …, that has been handed over."""
    return Parts(range(10, 10 + count), "full")


def partial(*indices: int) -> PartialFailure:
    """Items at these indices failed, each for a reason of its own."""
    return PartialFailure({index: Refusal(index) for index in indices})


def raised(parts: Parts[int], verdict: Verdict, error: BaseException = RAISED) -> Failure[int]:
    """Let the part on top fail and be judged."""
    failure = parts.raised(error, 0.5)
    parts.judge(verdict)
    return failure


def nowhere(parts: Parts[int]) -> tuple[bool, Mapping[int, Any], Mapping[int, Any], list[int]]:
    """Whether anything is left to hand over, what was dropped, what failed and what is lost."""
    return parts.open, parts.dropped, parts.failed, list(parts.lost)


# What the handler is told.


def test_a_failure_tells_what_happened() -> None:
    """The handler is told the items, the error, the attempt, the reason and the seconds."""
    failure = parts_of(2).raised(RAISED, 1.5)
    assert Failure([10, 11], RAISED, None, 1, "full", 1.5) == failure
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        failure.attempt = 2  # type: ignore[misc]  # that is the point


def test_a_partial_failure_tells_of_each_item() -> None:
    """After a PartialFailure there are the items that failed, in order, and an error for each."""
    error = partial(2, 0)
    failure = parts_of(4).raised(error, 0.0)
    assert ([10, 12], error) == (failure.items, failure.error)
    assert [error.errors[0], error.errors[2]] == failure.errors


def test_the_lists_of_a_failure_are_the_handlers_own() -> None:
    """Whatever a handler does to the lists changes neither what is handed over nor what ends."""
    parts, error = parts_of(3), partial(1, 2)
    failure = parts.raised(error, 0.0)
    failure.items.clear()
    assert failure.errors is not None
    failure.errors.pop()
    cast("dict[int, BaseException]", error.errors).clear()
    assert [11, 12] == parts.items()
    parts.judge(Drop())
    assert {1: Refusal, 2: Refusal} == {at: type(why) for at, why in parts.dropped.items()}
    assert [] == parts.lost


def test_what_is_handed_over_is_a_list_to_give_away() -> None:
    """What flush_fn does to its list changes nothing for the next attempt."""
    parts = parts_of(2)
    raised(parts, Retry())
    parts.items().clear()
    assert [10, 11] == parts.items()


# Verdicts at work.


def test_what_fails_is_lost() -> None:
    """Fail ends the matter: nothing is left to hand over, and all of it is lost."""
    parts = parts_of(2)
    raised(parts, Fail())
    assert (False, {}, {0: RAISED, 1: RAISED}, [0, 1]) == nowhere(parts)


def test_what_is_dropped_is_not_lost() -> None:
    """Drop ends the part; it is neither lost nor delivered."""
    parts = parts_of(2)
    raised(parts, Drop())
    assert (False, {0: RAISED, 1: RAISED}, {}, []) == nowhere(parts)


@pytest.mark.parametrize("after", [0, 2, 0.5, Fraction(1, 3), 1e308])
def test_a_pause_is_a_float(after: float) -> None:
    """Whatever number a Retry comes after, the part pauses for a float of seconds."""
    parts = parts_of(1)
    raised(parts, Retry(after))
    assert (float(after), float) == (parts.pause, type(parts.pause))


def test_a_retry_hands_over_the_same() -> None:
    """Retry hands the same items over again, one attempt and the pause later."""
    parts = parts_of(2)
    raised(parts, Retry(3))
    assert (True, {}, {}, [0, 1]) == nowhere(parts)
    assert ([10, 11], 3) == (parts.items(), parts.pause)
    assert 2 == raised(parts, Retry()).attempt
    assert 3 == raised(parts, Retry()).attempt
    parts.returned()
    assert (False, {}, {}, []) == nowhere(parts)


@pytest.mark.parametrize(
    ("count", "halves"),
    [(2, [[10], [11]]), (3, [[10, 11], [12]]), (5, [[10, 11, 12], [13, 14]])],
)
def test_split_halves(count: int, halves: list[list[int]]) -> None:
    """Split hands over two halves, the first one first, the larger of two unequal ones."""
    parts = parts_of(count)
    raised(parts, Split())
    handed = []
    while parts.open:
        handed.append(parts.items())
        parts.returned()
    assert halves == handed


def test_one_item_cannot_be_split() -> None:
    """Split of one item alone is Fail."""
    parts = parts_of(1)
    raised(parts, Split())
    assert (False, {}, {0: RAISED}, [0]) == nowhere(parts)


def test_each_half_has_attempts_of_its_own() -> None:
    """A half starts with attempt 1, whatever its whole had, and comes at once."""
    parts = parts_of(4)
    pauses, attempts = [parts.pause], []
    for verdict in (Retry(9), Split(), Retry(8), Drop(), Retry(7), Drop()):
        attempts.append(raised(parts, verdict).attempt)
        pauses += [parts.pause] if parts.open else []
    assert [1, 2, 1, 2, 1, 2] == attempts
    assert [0.0, 9.0, 0.0, 8.0, 0.0, 7.0] == pauses


def test_the_other_half_is_lost_but_has_not_failed() -> None:
    """A half that fails leaves the other one lost, without an exception of its own."""
    parts = parts_of(4)
    raised(parts, Split())
    raised(parts, Fail())
    assert {0: RAISED, 1: RAISED} == parts.failed
    assert [0, 1, 2, 3] == parts.lost


def test_a_partial_failure_delivers_the_rest() -> None:
    """What a PartialFailure does not name is delivered, and only the rest is judged."""
    parts, error = parts_of(4), partial(3, 1)
    raised(parts, Fail(), error)
    assert {1: error.errors[1], 3: error.errors[3]} == parts.failed
    assert [1, 3] == parts.lost


def test_every_item_may_fail_for_itself() -> None:
    """Every index of the batch may be named, with any exception."""
    parts, errors = parts_of(3), {0: OSError(), 2: KeyboardInterrupt(), 1: SystemExit()}
    raised(parts, Drop(), PartialFailure(errors))
    assert (False, errors, {}, []) == nowhere(parts)


def test_indices_are_those_of_the_attempt() -> None:
    """A PartialFailure of a later attempt counts from 0 in what was handed over then."""
    parts, last = parts_of(6), partial(1)
    raised(parts, Retry(), partial(1, 3, 5))
    assert 2 == raised(parts, Split(), partial(0, 2)).attempt
    assert [11] == parts.items()
    parts.returned()
    assert [15] == parts.items()
    raised(parts, Retry())
    raised(parts, Drop(), partial(0))
    assert (False, [5], []) == (parts.open, list(parts.dropped), parts.lost)
    with pytest.raises(ValueError, match="1 is not an index of a batch of 1 items"):
        parts_of(1).raised(last, 0.0)


class Speechless:
    """What cannot be shown."""

    def __repr__(self) -> str:
        raise AttributeError("no repr")


MUTE = Speechless()


@pytest.mark.parametrize(
    ("errors", "flaw"),
    [
        ({}, "it names no item"),
        ({2: RAISED}, "2 is not an index of a batch of 2 items"),
        ({-1: RAISED}, "-1 is not an index of a batch of 2 items"),
        ({True: RAISED}, "True is not an index of a batch of 2 items"),
        ({0: RAISED, 1.0: RAISED}, "1.0 is not an index of a batch of 2 items"),
        ({0: RAISED, "1": RAISED}, "'1' is not an index of a batch of 2 items"),
        ({0: "it was bad"}, "'it was bad', of index 0, is not an exception"),
        ({0: MUTE}, f"{object.__repr__(MUTE)}, of index 0, is not an exception"),
        ({1: Refusal}, "<class 'tests.strategies.Refusal'>, of index 1, is not an exception"),
        ([0, 1], "it takes a mapping of indices to exceptions, not [0, 1]"),
        (None, "it takes a mapping of indices to exceptions, not None"),
    ],
)
def test_a_partial_failure_that_makes_no_sense(errors: Any, flaw: str) -> None:
    """It is refused with its flaw, and all that was handed over has failed for that."""
    parts = parts_of(2)
    with pytest.raises(ValueError, match=re.escape(f"makes no sense: {flaw}")) as caught:
        parts.raised(PartialFailure(errors), 0.0)
    assert isinstance(caught.value.__cause__, PartialFailure)
    assert (False, {}, {0: caught.value, 1: caught.value}, [0, 1]) == nowhere(parts)


class Mute(PartialFailure):
    """A PartialFailure that was never told anything."""

    def __init__(self) -> None:
        pass


class Unreadable(Mapping[int, BaseException]):
    """A mapping that says that it holds something, and does not say what."""

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[int]:
        raise Refusal("no keys")

    def __getitem__(self, index: int) -> BaseException:
        raise Refusal("no values")


@pytest.mark.parametrize(
    ("error", "raises"),
    [(Mute(), AttributeError), (PartialFailure(Unreadable()), Refusal)],
    ids=["mute", "unreadable"],
)
def test_a_partial_failure_that_cannot_be_read_loses_track_of_nothing(
    error: PartialFailure, raises: type[Exception]
) -> None:
    """Whatever it raises when it is asked, none of the items counts as delivered."""
    parts = parts_of(2)
    with pytest.raises(raises):
        parts.raised(error, 0.0)
    assert [0, 1] == parts.lost


# Laws.

Answer = tuple[int, Verdict] | None
"""What an attempt comes to: it returns, or the items of a bit set fail (0: it raises as a whole)
and the handler answers."""

VERDICTS = st.sampled_from([Retry(), Split(), Split(), Drop(), Fail()])
ANSWERS: st.SearchStrategy[Answer] = st.none() | st.tuples(st.integers(0, 2**12 - 1), VERDICTS)


class Ended(Exception):
    """A verdict has ended the queue."""


class Told:
    """What becomes of a batch, told by recursion: each part sees to its own.

    Attributes:
        handed: The items of each attempt, and its number.
        delivered: The items that were delivered.
        dropped: The items that were dropped, and why.
    """

    def __init__(self, answers: list[Answer]) -> None:
        self.handed: list[tuple[list[int], int]] = []
        self.delivered: set[int] = set()
        self.dropped: dict[int, BaseException] = {}
        self._answers = iter(answers)

    def see_to(self, items: list[int], attempt: int = 1) -> None:
        """Hand items over, and do what is answered."""
        self.handed.append((items, attempt))
        answer = next(self._answers, None)
        if answer is None:
            self.delivered.update(items)
            return
        errors = dict(zip(items, errors_of(answer[0], len(items)), strict=True))
        failed = [item for item in items if errors[item] is not None]
        self.delivered.update(set(items) - set(failed))
        match answer[1]:
            case Retry():
                self.see_to(failed, attempt + 1)
            case Split() if len(failed) > 1:
                middle = -(-len(failed) // 2)
                self.see_to(failed[:middle])
                self.see_to(failed[middle:])
            case Drop():
                self.dropped |= {item: why for item, why in errors.items() if why is not None}
            case _:
                raise Ended


EACH = [Refusal(index) for index in range(12)]


def errors_of(bits: int, count: int) -> list[BaseException | None]:
    """The error of each of so many items: of those in the bit set, or of all if none is."""
    failed = [bits >> index & 1 for index in range(count)]
    if not any(failed):
        return [RAISED] * count
    return [EACH[index] if fails else None for index, fails in enumerate(failed)]


def error_of(bits: int, count: int) -> BaseException:
    """What flush_fn raises to say so."""
    errors = errors_of(bits, count)
    named = {index: error for index, error in enumerate(errors) if error is not None}
    return RAISED if RAISED in errors else PartialFailure(named)


@given(count=st.integers(1, 12), answers=st.lists(ANSWERS, min_size=1, max_size=20))
def test_parts_end_as_they_would_by_recursion(count: int, answers: list[Answer]) -> None:
    """Whatever is raised and answered: each item is handed over and ends as its part does."""
    told = Told(answers)
    ended = False
    try:
        told.see_to(list(range(10, 10 + count)))
    except Ended:
        ended = True
    parts = parts_of(count)
    handed: list[tuple[list[int], int]] = []
    script = iter(answers)
    while parts.open and not parts.failed:
        items = parts.items()
        answer = next(script, None)
        attempt = told.handed[len(handed)][1]
        if answer is None:
            parts.returned()
        else:
            attempt = raised(parts, answer[1], error_of(answer[0], len(items))).attempt
        handed.append((items, attempt))
    assert told.handed == handed
    assert told.dropped == {10 + at: why for at, why in parts.dropped.items()}
    ends = told.delivered.union(told.dropped)
    assert [at for at in range(count) if 10 + at not in ends] == parts.lost
    assert ended == bool(parts.failed)
    assert set(parts.failed) <= set(parts.lost)


def isolate(count: int, poisoned: set[int]) -> tuple[int, set[int], list[int]]:
    """Split what fails and drop it alone: how many calls more, what was dropped and delivered."""
    parts, calls, delivered = parts_of(count), 0, list[int]()
    while parts.open:
        items = parts.items()
        calls += 1
        if poisoned.intersection(items):
            raised(parts, Split() if len(items) > 1 else Drop())
        else:
            parts.returned()
            delivered += items
    return calls - 1, {10 + at for at in parts.dropped}, delivered


@given(count=st.integers(1, 5000), data=st.data())
def test_split_isolates_one_poisoned_item(count: int, data: st.DataObject) -> None:
    """One poisoned item of n costs 2 * ceil(log2(n)) more calls at most, and it alone."""
    item = data.draw(st.integers(10, 9 + count))
    calls, dropped, delivered = isolate(count, {item})
    assert {item} == dropped
    assert [other for other in range(10, 10 + count) if other != item] == delivered
    assert 2 * math.ceil(math.log2(count)) >= calls


@pytest.mark.parametrize(("count", "calls"), [(1, 0), (2, 2), (8, 6), (1024, 20)])
def test_the_price_of_one_poisoned_item_is_exact(count: int, calls: int) -> None:
    """Of a power of two every item costs the same, twice the logarithm."""
    assert {calls} == {isolate(count, {item})[0] for item in range(10, 10 + count)}


@given(count=st.integers(1, 200), data=st.data())
def test_split_isolates_each_of_several(count: int, data: st.DataObject) -> None:
    """Every poisoned item is found, no other is dropped, and the order stays."""
    poisoned = data.draw(st.sets(st.integers(10, 9 + count), min_size=1))
    calls, dropped, delivered = isolate(count, poisoned)
    assert poisoned == dropped
    assert [item for item in range(10, 10 + count) if item not in poisoned] == delivered
    assert min(2 * count - 2, 2 * len(poisoned) * math.ceil(math.log2(count))) >= calls
