"""The steps after a failure, and the ends of parts and items."""

import gc
import math
import re
import weakref
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flushq.core.attempts import Ask, Attempts, Call, Parts, Pause
from flushq.core.batch import Batch
from flushq.errors import PartialFailure
from flushq.outcomes import Drop, Fail, Failure, Retry, Split, Verdict
from tests.core.support import batch_of
from tests.strategies import Refusal

RAISED = Refusal("raised")


def parts_of(count: int) -> Parts[int]:
    """Return the parts of a batch of ``count`` items: 10, 11 and so on."""
    return Parts(range(10, 10 + count), "full")


def partial(*indices: int) -> PartialFailure:
    """Return a PartialFailure of the items at these indices, each with its own exception."""
    return PartialFailure({index: Refusal(index) for index in indices})


def raised(parts: Parts[int], verdict: Verdict, error: BaseException = RAISED) -> Failure[int]:
    """Let the current part fail, judge it, and return the failure."""
    failure = parts.raised(error, 0.5)
    parts.judge(verdict)
    return failure


def nowhere(parts: Parts[int]) -> tuple[bool, Mapping[int, Any], Mapping[int, Any], list[int]]:
    """Return whether a part is left, and the items that were dropped, have failed and are lost."""
    return parts.open, parts.dropped, parts.failed, list(parts.lost)


# The failure that the handler gets.


def test_a_partial_failure_tells_of_each_item() -> None:
    """The failure of a PartialFailure has the failed items in order, and an error for each."""
    error = partial(2, 0)
    failure = parts_of(4).raised(error, 0.0)
    assert ([10, 12], error) == (failure.items, failure.error)
    assert [error.errors[0], error.errors[2]] == failure.errors


def test_the_lists_of_a_failure_are_the_handlers_own() -> None:
    """Changes of the handler to the lists change neither the next call nor the ends of items."""
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


def test_the_items_of_a_part_are_a_list_to_give_away() -> None:
    """Changes of flush_fn to its list do not change the next attempt."""
    parts = parts_of(2)
    raised(parts, Retry())
    parts.items().clear()
    assert [10, 11] == parts.items()


# The effect of verdicts.


@pytest.mark.parametrize(
    ("count", "verdict", "expected"),
    [
        (2, Fail(), (False, {}, {0: RAISED, 1: RAISED}, [0, 1])),
        (2, Drop(), (False, {0: RAISED, 1: RAISED}, {}, [])),
        (1, Split(), (False, {}, {0: RAISED}, [0])),
    ],
)
def test_a_verdict_may_end_a_part(count: int, verdict: Verdict, expected: object) -> None:
    """Failed items are lost, also a single item after Split; dropped items are not."""
    parts = parts_of(count)
    raised(parts, verdict)
    assert expected == nowhere(parts)


def test_a_partial_failure_delivers_the_rest() -> None:
    """A PartialFailure may name any index with any exception; only these items are judged."""
    parts, errors = parts_of(3), {0: OSError(), 2: KeyboardInterrupt()}
    raised(parts, Fail(), PartialFailure(errors))
    assert (False, {}, errors, [0, 2]) == nowhere(parts)


@pytest.mark.parametrize("after", [0, 2, 0.5, Fraction(1, 3), 1e308])
def test_a_pause_is_what_was_asked_for(after: float) -> None:
    """The pause of a Retry is exactly its number, without rounding."""
    parts = parts_of(1)
    raised(parts, Retry(after))
    assert (after, type(after)) == (parts.pause.seconds, type(parts.pause.seconds))


def test_a_retry_is_of_the_same() -> None:
    """Retry keeps the items of the part, sets its pause and counts the attempt."""
    parts = parts_of(2)
    raised(parts, Retry(3))
    assert (True, {}, {}, [0, 1]) == nowhere(parts)
    assert ([10, 11], Pause(3)) == (parts.items(), parts.pause)
    assert 2 == raised(parts, Retry()).attempt
    assert 3 == raised(parts, Retry()).attempt
    parts.returned()
    assert (False, {}, {}, []) == nowhere(parts)


@pytest.mark.parametrize(
    ("count", "halves"),
    [(2, [[10], [11]]), (3, [[10, 11], [12]]), (5, [[10, 11, 12], [13, 14]])],
)
def test_split_halves(count: int, halves: list[list[int]]) -> None:
    """Split makes two halves, called in order; the first one is the larger if they differ."""
    parts = parts_of(count)
    raised(parts, Split())
    called = []
    while parts.open:
        called.append(parts.items())
        parts.returned()
    assert halves == called


def test_each_half_has_attempts_of_its_own() -> None:
    """A half starts with attempt 1 and without a pause."""
    parts = parts_of(4)
    pauses, attempts = [parts.pause.seconds], []
    for verdict in (Retry(9), Split(), Retry(8), Drop(), Retry(7), Drop()):
        attempts.append(raised(parts, verdict).attempt)
        pauses += [parts.pause.seconds] if parts.open else []
    assert [1, 2, 1, 2, 1, 2] == attempts
    assert [0.0, 9.0, 0.0, 8.0, 0.0, 7.0] == pauses


def test_the_other_half_is_lost_but_has_not_failed() -> None:
    """If one half fails, the other one is lost, but has no exception of its own."""
    parts = parts_of(4)
    raised(parts, Split())
    raised(parts, Fail())
    assert {0: RAISED, 1: RAISED} == parts.failed
    assert [0, 1, 2, 3] == parts.lost


def test_indices_are_those_of_the_attempt() -> None:
    """The indices of a PartialFailure count from 0 in the items of its own attempt."""
    parts, last = parts_of(6), partial(1)
    raised(parts, Retry(), partial(1, 3, 5))
    assert 2 == raised(parts, Split(), partial(0, 2)).attempt
    assert [11] == parts.items()
    parts.returned()
    assert [15] == parts.items()
    raised(parts, Retry())
    raised(parts, Drop(), partial(0))
    assert (False, [5], []) == (parts.open, list(parts.dropped), parts.lost)
    with pytest.raises(ValueError, match="must be an int from 0 to 0, not 1"):
        parts_of(1).raised(last, 0.0)


def test_a_part_of_several_may_fail_in_part() -> None:
    """A PartialFailure of one part does not change the parts that wait behind it."""
    parts = parts_of(4)
    raised(parts, Split())
    raised(parts, Drop(), partial(1))
    assert ([1], [12, 13]) == (list(parts.dropped), parts.items())


class Speechless:
    """A class whose objects have no repr."""

    def __repr__(self) -> str:
        raise AttributeError("no repr")


MUTE = Speechless()


@pytest.mark.parametrize(
    ("errors", "flaw"),
    [
        ({}, "errors must name at least one item, but the mapping is empty"),
        ({2: RAISED}, "an index must be an int from 0 to 1, not 2"),
        ({-1: RAISED}, "an index must be an int from 0 to 1, not -1"),
        ({True: RAISED}, "an index must be an int from 0 to 1, not True"),
        ({0: RAISED, 1.0: RAISED}, "an index must be an int from 0 to 1, not 1.0"),
        ({0: RAISED, "1": RAISED}, "an index must be an int from 0 to 1, not '1'"),
        ({0: "it was bad"}, "the error of index 0 must be an exception, not 'it was bad'"),
        pytest.param(
            {0: MUTE},
            f"the error of index 0 must be an exception, not {object.__repr__(MUTE)}",
            id="speechless",
        ),
        ({1: Refusal}, f"the error of index 1 must be an exception, not {Refusal}"),
        ([0, 1], "errors must be a mapping of indices to exceptions, not [0, 1]"),
        (None, "errors must be a mapping of indices to exceptions, not None"),
    ],
)
def test_a_partial_failure_that_makes_no_sense(errors: Any, flaw: str) -> None:
    """A wrong PartialFailure is a ValueError, and all items of the part have failed with it."""
    parts = parts_of(2)
    with pytest.raises(ValueError, match=re.escape(f"a wrong PartialFailure: {flaw}")) as caught:
        parts.raised(PartialFailure(errors), 0.0)
    assert isinstance(caught.value.__cause__, PartialFailure)
    assert (False, {}, {0: caught.value, 1: caught.value}, [0, 1]) == nowhere(parts)


class Mute(PartialFailure):
    """A PartialFailure without ``errors``."""

    def __init__(self) -> None:
        pass


class Unreadable(Mapping[int, BaseException]):
    """A mapping that has a length, but cannot be read."""

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
    """If a PartialFailure cannot be read, no item counts as delivered."""
    parts = parts_of(2)
    with pytest.raises(raises):
        parts.raised(error, 0.0)
    assert [0, 1] == parts.lost


# Step by step.


class Way:
    """A failed batch and its attempts, step by step.

    Attributes:
        batch: A batch of ``count`` items, 10, 11 and so on, that was taken at 1.0.
        attempts: The object under test.
        noted: The positions that have ended, with their exceptions, in each note.
        calls_ended: The time at which each call has ended, and the class of its exception.
    """

    def __init__(self, count: int, *, has_handler: bool = True) -> None:
        items = list(range(10, 10 + count))
        self.batch = batch_of(*items, started=1.0)
        self.batch.call(items)
        self.noted: list[Mapping[int, BaseException | None]] = []
        self.calls_ended: list[tuple[float, type[BaseException | None]]] = []
        self.attempts: Attempts[int] = Attempts(
            self.batch, self._note, self._note_call_ended, has_handler=has_handler
        )

    def _note(self, batch: Batch[int], ended: Mapping[int, BaseException | None]) -> None:
        assert self.batch is batch
        self.noted.append(ended)

    def _note_call_ended(self, batch: Batch[int], now: float, error: BaseException | None) -> None:
        assert self.batch is batch
        self.calls_ended.append((now, type(error)))

    def raised(
        self, error: BaseException = RAISED, now: float = 3.0, *, may_ask: bool = True
    ) -> object:
        """Note that flush_fn has raised, and return the next step."""
        self.attempts.raised(error, now, may_ask=may_ask)
        return self.attempts.next

    def judged(self, verdict: object) -> object:
        """Note that the handler has answered, and return the next step."""
        self.attempts.handler_answered(verdict)
        return self.attempts.next

    def paused(self) -> object:
        """Note that the pause is over, and return the next step."""
        self.attempts.paused()
        return self.attempts.next

    def returned(self) -> object:
        """Note that flush_fn has returned, and return the next step."""
        self.attempts.returned(5.0)
        return self.attempts.next

    def end(self) -> tuple[BaseException | None, Mapping[int, Any], Mapping[int, Any], list[int]]:
        """Return the error and the dropped, failed and lost items of a batch that is over."""
        batch = self.batch
        assert (True, None) == (batch.over, self.attempts.next)
        return batch.error, batch.dropped, batch.failed, list(batch.lost or ())


def test_each_step_is_followed_by_the_next() -> None:
    """The handler, the pauses and the calls of flush_fn follow each other, part by part."""
    way = Way(2)
    assert Ask(Failure([10, 11], RAISED, None, 1, "full", 2.0)) == way.raised()
    assert Pause(4.0) == way.judged(Retry(4))
    assert Call([10, 11]) == way.paused()
    assert Ask(Failure([10, 11], RAISED, None, 2, "full", 8.0)) == way.raised(now=9.0)
    assert Pause(0.0) == way.judged(Split())
    assert (Call([10]), False) == (way.paused(), way.batch.over)
    assert Pause(0.0) == way.returned()
    assert (Call([11]), [{0: None}]) == (way.paused(), way.noted)
    assert way.returned() is None
    delivered = 5.0, type(None)
    assert [(3.0, Refusal), (9.0, Refusal), delivered, delivered] == way.calls_ended
    assert ((None, {}, {}, []), 4) == (way.end(), way.batch.attempts)


def test_what_has_ended_is_noted_at_once() -> None:
    """Ended items are noted before the handler is asked about the rest, or parts are called."""
    way, error = Way(4), partial(0, 2, 3)
    way.raised(error)
    assert [{1: None}] == way.noted
    way.judged(Split())
    way.paused()
    way.raised()
    way.judged(Drop())
    assert [{1: None}, {0: RAISED, 2: RAISED}] == way.noted
    way.paused()
    way.raised()
    way.judged(Drop())
    assert (None, {0: RAISED, 2: RAISED, 3: RAISED}, {}, []) == way.end()
    assert 2 == len(way.noted)


@pytest.mark.parametrize(("has_handler", "may_ask"), [(False, True), (True, False)])
def test_where_nobody_is_asked_a_failure_is_the_end(*, has_handler: bool, may_ask: bool) -> None:
    """Without a handler, or if the failure is not for the handler, the items have failed."""
    way = Way(2, has_handler=has_handler)
    assert way.raised(may_ask=may_ask) is None
    assert (RAISED, {}, {0: RAISED, 1: RAISED}, [0, 1]) == way.end()


def test_a_flush_that_the_queue_has_interrupted_has_failed_for_nothing() -> None:
    """The items of an interrupted flush are lost without failing, and the handler is not asked."""
    way = Way(2)
    way.batch.interrupt()
    assert way.raised(partial(1)) is None
    error, *rest = way.end()
    assert (PartialFailure, [{}, {}, [1]]) == (type(error), rest)


def test_an_interrupt_while_a_partial_failure_is_read_is_not_raised() -> None:
    """An interrupt while a PartialFailure is read is the error of the batch; all items are lost."""

    class Interrupting(Unreadable):
        def __iter__(self) -> Iterator[int]:
            raise KeyboardInterrupt

    way = Way(2)
    assert way.raised(PartialFailure(Interrupting())) is None
    error, *rest = way.end()
    assert (KeyboardInterrupt, [{}, {}, [0, 1]]) == (type(error), rest)


@pytest.mark.parametrize("now", [0.0, 1.0])
def test_the_seconds_of_a_failure_are_never_negative(now: float) -> None:
    """If the clock has gone back since the start of a flush, its seconds are 0."""
    assert Ask(Failure([10], RAISED, None, 1, "full", 0.0)) == Way(1).raised(now=now)


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_handler_that_raises_has_failed_the_items(*, interrupted: bool) -> None:
    """If the handler raises, the items have failed with flush_fn's error, unless interrupted."""
    way, mistake = Way(2), Refusal("handler")
    way.raised()
    if interrupted:
        way.batch.interrupt()
    way.attempts.handler_raised(mistake)
    failed = {} if interrupted else {0: RAISED, 1: RAISED}
    assert (mistake, {}, failed, [0, 1]) == way.end()
    assert RAISED is mistake.__cause__


def test_an_error_of_the_handler_keeps_the_cause_that_it_has() -> None:
    """If the handler raises flush_fn's error, its cause, or one with a cause, no cause changes."""
    error, cause, other = Refusal("error"), Refusal("cause"), Refusal("other")
    error.__cause__, other.__cause__ = cause, Refusal("its own")
    expected = [each.__cause__ for each in (error, cause, other)]
    for raised_before, mistake in ((error, error), (error, cause), (error, other), (cause, cause)):
        way = Way(1)
        way.raised(raised_before)
        way.attempts.handler_raised(mistake)
        assert mistake is way.batch.error
    assert expected == [each.__cause__ for each in (error, cause, other)]


def test_an_answer_that_is_not_a_verdict_is_an_error_of_the_handler() -> None:
    """An answer that is not a verdict is a TypeError that shows it, and the items have failed."""
    way = Way(1)
    way.raised()
    assert way.judged("drop") is None
    error, _, failed, _ = way.end()
    assert "on_failure must return a verdict (Retry, Split, Drop or Fail), not 'drop'" == str(error)
    assert (TypeError, {0: RAISED}) == (type(error), failed)


def test_a_pause_that_is_cut_short_has_failed_nothing() -> None:
    """If a pause is cut, the items are lost without failing, and flush_fn's error is the cause."""
    way, cut = Way(2), Refusal("cut")
    way.raised()
    way.judged(Retry())
    way.attempts.pause_cut_short(cut)
    assert (cut, {}, {}, [0, 1]) == way.end()
    assert RAISED is cut.__cause__


@pytest.fixture
def _nothing_collected() -> Iterator[None]:
    """Disable garbage collection."""
    gc.disable()
    yield
    gc.enable()


def _cut(way: Way) -> None:
    way.judged(Retry())
    way.attempts.pause_cut_short(Refusal("cut"))


@pytest.mark.parametrize(
    "end",
    [
        lambda way: way.judged(Fail()),
        lambda way: way.judged(Drop()),
        lambda way: way.judged("drop"),
        _cut,
    ],
    ids=["failed", "dropped", "broke", "cut"],
)
@pytest.mark.usefixtures("_nothing_collected")
def test_nothing_is_kept_after_the_end(end: Callable[[Way], object]) -> None:
    """When a batch forgets its errors, nothing else refers to them."""
    way = Way(2)
    way.attempts.raised(partial(0), 3.0, may_ask=True)
    error = cast("Ask[int]", way.attempts.next).failure.error
    gone = weakref.ref(error)
    del error
    end(way)
    way.batch.release()
    assert gone() is None


# Laws.


def isolate(count: int, poisoned: set[int]) -> tuple[int, set[int], list[int]]:
    """Split failed parts, drop single items; return further calls, dropped and delivered."""
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


@pytest.mark.parametrize(("count", "calls"), [(1, 0), (2, 2), (8, 6), (1024, 20)])
def test_the_price_of_one_poisoned_item_is_exact(count: int, calls: int) -> None:
    """In a batch of 2 ** n items each poisoned item costs 2 * n further calls."""
    assert {calls} == {isolate(count, {item})[0] for item in range(10, 10 + count)}


@given(count=st.integers(1, 200), data=st.data())
def test_split_isolates_each_of_several(count: int, data: st.DataObject) -> None:
    """Every poisoned item is found, no other one is dropped, and the order does not change."""
    poisoned = data.draw(st.sets(st.integers(10, 9 + count), min_size=1))
    calls, dropped, delivered = isolate(count, poisoned)
    assert poisoned == dropped
    assert [item for item in range(10, 10 + count) if item not in poisoned] == delivered
    assert min(2 * count - 2, 2 * len(poisoned) * math.ceil(math.log2(count))) >= calls
