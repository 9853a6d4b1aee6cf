"""Point 15, first half: a bad argument fails at the call that passes it and shows its value."""

import asyncio
import functools
import math
import re
import threading
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from flushq import (
    Decision,
    Flush,
    FlushFailed,
    FlushPolicy,
    FlushQueue,
    IntervalPolicy,
    ItemTooLarge,
    NaturalPolicy,
    ShutdownTimeout,
)
from tests.contract.hostile import error_of
from tests.contract.support import HeldSink, Sink, enqueue_all, patient, settle

# The constructor.


async def a_coroutine_function(item: Any) -> int:
    """Be async."""
    return 1


class AsyncCallable:
    """An object whose call is async."""

    async def __call__(self, item: Any) -> int:
        """Be async."""
        return 1


class Capped(FlushPolicy):
    """A policy that checks nothing, with whatever caps it is given."""

    def __init__(self, *, max_records: Any = None, max_weight: Any = None) -> None:
        self.max_records = max_records
        self.max_weight = max_weight

    def decide(self, now: float) -> Decision:
        """Flush."""
        return Flush()


NAN = math.nan
HUGE = 10**309  # more than any float can hold

BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    *(
        case
        for name in ("max_queue_size", "max_in_flight")
        for case in (
            ({name: 0}, ValueError, "0"),
            ({name: -3}, ValueError, "-3"),
            ({name: True}, TypeError, "True"),
            ({name: 1.5}, TypeError, "1.5"),
            ({name: 2.0}, TypeError, "2.0"),
            ({name: NAN}, TypeError, "nan"),
            ({name: math.inf}, TypeError, "inf"),
            ({name: "7"}, TypeError, "'7'"),
            ({name: None}, TypeError, "None"),
            ({name: Fraction(3)}, TypeError, "Fraction(3, 1)"),
        )
    ),
    ({"max_shutdown_wait": -1}, ValueError, "-1"),
    ({"max_shutdown_wait": -0.5}, ValueError, "-0.5"),
    ({"max_shutdown_wait": NAN}, ValueError, "nan"),
    ({"max_shutdown_wait": -math.inf}, ValueError, "-inf"),
    ({"max_shutdown_wait": HUGE}, ValueError, str(HUGE)),
    ({"max_shutdown_wait": True}, TypeError, "True"),
    ({"max_shutdown_wait": "3"}, TypeError, "'3'"),
    ({"max_shutdown_wait": Decimal(3)}, TypeError, "Decimal('3')"),
    ({"max_shutdown_wait": 3 + 0j}, TypeError, "(3+0j)"),
    ({"flush_fn": None}, TypeError, "None"),
    ({"flush_fn": "send"}, TypeError, "'send'"),
    ({"policy": None}, TypeError, "None"),
    ({"policy": 5.0}, TypeError, "5.0"),
    ({"policy": NaturalPolicy}, TypeError, "NaturalPolicy"),
    ({"dedupe_key": 3}, TypeError, "3"),
    ({"dedupe_key": "id"}, TypeError, "'id'"),
    ({"dedupe_key": a_coroutine_function}, TypeError, "a_coroutine_function"),
    ({"dedupe_key": AsyncCallable()}, TypeError, "AsyncCallable"),
    ({"dedupe_key": functools.partial(a_coroutine_function)}, TypeError, "partial("),
    ({"weigh": 3}, TypeError, "3"),
    ({"weigh": a_coroutine_function}, TypeError, "a_coroutine_function"),
    ({"weigh": AsyncCallable()}, TypeError, "AsyncCallable"),
    ({"weigh": functools.partial(a_coroutine_function)}, TypeError, "partial("),
    ({"policy": Capped(max_records=0)}, ValueError, "0"),
    ({"policy": Capped(max_records=-2)}, ValueError, "-2"),
    ({"policy": Capped(max_records=True)}, TypeError, "True"),
    ({"policy": Capped(max_records=2.5)}, TypeError, "2.5"),
    ({"policy": Capped(max_weight=0), "weigh": len}, ValueError, "0"),
    ({"policy": Capped(max_weight=-1.5), "weigh": len}, ValueError, "-1.5"),
    ({"policy": Capped(max_weight=NAN), "weigh": len}, ValueError, "nan"),
    ({"policy": Capped(max_weight=True), "weigh": len}, TypeError, "True"),
    ({"policy": Capped(max_weight=Decimal(1)), "weigh": len}, TypeError, "Decimal('1')"),
    ({"policy": Capped(max_weight=10)}, TypeError, "10"),
]


@pytest.mark.parametrize(
    ("arguments", "kind", "value"),
    BAD,
    ids=["-".join([*arguments, value[:20]]) for arguments, _, value in BAD],
)
def test_a_bad_argument_is_refused_with_its_value(
    arguments: dict[str, Any], kind: type[Exception], value: str
) -> None:
    """A queue is not made of a bad argument; the message names the argument and its value."""
    name = next(iter(arguments))
    with pytest.raises(kind, match=re.escape(value)) as caught:
        FlushQueue(**{"flush_fn": a_coroutine_function, "policy": NaturalPolicy(), **arguments})
    assert kind is type(caught.value)
    assert name in str(caught.value) or "max_" in str(caught.value)


@pytest.mark.parametrize("cap", [{"max_records": 0}, {"max_records": 1.5}, {"max_weight": -1}])
@pytest.mark.parametrize("policy", [NaturalPolicy, functools.partial(IntervalPolicy, 1.0)])
def test_a_shipped_policy_refuses_bad_caps(policy: Callable[..., Any], cap: dict[str, Any]) -> None:
    """A policy that ships checks its caps when it is made, and shows the value."""
    ((_, value),) = cap.items()
    with pytest.raises((TypeError, ValueError), match=re.escape(repr(value))):
        policy(**cap)


@pytest.mark.parametrize("wait", [0, -1.0, NAN, True, "1", None, Decimal(1), HUGE])
def test_the_interval_policy_refuses_a_bad_interval(wait: Any) -> None:
    """An interval that is no positive real number is refused with its value."""
    kind = ValueError if isinstance(wait, float) or wait in (0, HUGE) else TypeError
    with pytest.raises(kind, match=re.escape(repr(wait))):
        IntervalPolicy(wait)


async def test_a_fraction_is_an_interval() -> None:
    """An interval may be a Fraction."""
    sink = Sink[int]()
    quarter: Any = Fraction(1, 4)
    async with FlushQueue(sink, IntervalPolicy(quarter)) as queue:
        await queue.enqueue(1)
        await asyncio.sleep(1.0)
    assert [0.25] == sink.started


def test_a_policy_that_cannot_be_copied_is_named() -> None:
    """A policy that holds a lock is a TypeError at construction, which names it and the way out."""

    class Locked(NaturalPolicy):
        def __init__(self) -> None:
            super().__init__()
            self.lock = threading.Lock()

    with pytest.raises(TypeError, match=r"Locked.*__deepcopy__"):
        FlushQueue(a_coroutine_function, Locked())


async def test_a_sink_that_is_not_async_is_found_out_when_it_is_called() -> None:
    """A flush_fn whose result cannot be awaited is a TypeError that shows the result."""
    flush_fn: Any = sum
    queue: FlushQueue[int] = FlushQueue(flush_fn, NaturalPolicy())
    await queue.enqueue(42)
    with pytest.raises(FlushFailed) as caught:
        await queue.aclose()
    assert isinstance(caught.value.__cause__, TypeError)
    assert "42" in str(caught.value.__cause__)


# Keys.


class Unequal:
    """A key that can be hashed but not compared."""

    def __hash__(self) -> int:
        """Be the same as all others."""
        return 1

    def __eq__(self, other: object) -> bool:
        """Fail."""
        raise ZeroDivisionError("cannot compare")


def key_of(item: Any) -> Any:
    """Return what an item says, or do what it says."""
    return item() if callable(item) else item


def fail() -> Any:
    """Raise."""
    raise ZeroDivisionError("no key for this item")


async def coroutine() -> int:
    """Be async."""
    return 1


BAD_KEYS: list[tuple[Any, type[Exception], str]] = [
    (fail, ZeroDivisionError, "no key for this item"),
    ([1, 2], TypeError, r"\[1, 2\]"),
    ({"a": 1}, TypeError, "{'a': 1}"),
    ((1, []), TypeError, r"\(1, \[\]\)"),
    (coroutine, TypeError, "async"),
    (Unequal(), ZeroDivisionError, "cannot compare"),
]


@pytest.mark.parametrize(("item", "kind", "message"), BAD_KEYS)
@pytest.mark.parametrize("nowait", [False, True])
async def test_a_bad_key_is_the_producers_error(
    item: Any, kind: type[Exception], message: str, *, nowait: bool
) -> None:
    """A key that cannot be had is raised by enqueue; nothing is accepted, the queue goes on."""
    sink = Sink[Any]()
    first = Unequal()
    queue = FlushQueue(sink, patient(), dedupe_key=key_of)
    async with queue:
        await queue.enqueue(first)
        with pytest.raises(kind, match=message):
            if nowait:
                queue.enqueue_nowait(item)
            else:
                await queue.enqueue(item)
        assert 1 == queue.pending
        await queue.enqueue(2)
    assert [[first, 2]] == sink.batches


async def test_a_key_that_fails_when_its_turn_comes_gives_its_room_back() -> None:
    """A producer that waited and whose key then cannot be compared frees its room for the next."""
    sink = HeldSink[Any]()
    queue = FlushQueue(sink, NaturalPolicy(1), dedupe_key=key_of, max_queue_size=2)
    async with queue:
        await queue.enqueue(0)
        await settle()
        await enqueue_all(queue, [2, 3])
        items = [Unequal(), Unequal(), 4]
        waiting = [asyncio.create_task(error_of(queue.enqueue(item))) for item in items]
        await settle()
        sink.open()
        errors = await asyncio.gather(*waiting)
    assert [type(None), ZeroDivisionError, type(None)] == [type(error) for error in errors]
    assert [0, 2, 3, items[0], 4] == sink.items


def test_an_async_generator_is_no_key_function() -> None:
    """An async generator function as dedupe_key or weigh is a TypeError at construction."""

    async def generator(item: int) -> Any:
        yield item

    with pytest.raises(TypeError, match="async"):
        FlushQueue(a_coroutine_function, NaturalPolicy(), dedupe_key=generator)


# Weights.

BAD_WEIGHTS: list[tuple[Any, type[Exception], str]] = [
    (NAN, ValueError, "nan"),
    (math.inf, ValueError, "inf"),
    (-1, ValueError, "-1"),
    (-0.001, ValueError, "-0.001"),
    (Fraction(-1, 3), ValueError, r"Fraction\(-1, 3\)"),
    (True, TypeError, "True"),
    (False, TypeError, "False"),
    (None, TypeError, "None"),
    ("3", TypeError, "'3'"),
    (Decimal(1), TypeError, "Decimal"),
    (1 + 0j, TypeError, r"\(1\+0j\)"),
    (fail, ZeroDivisionError, "no key"),
    (coroutine, TypeError, "async"),
    (10.5, ItemTooLarge, "10.5.*max_weight=10"),
    (HUGE, ValueError, str(HUGE)),
]


@pytest.mark.parametrize(
    ("item", "kind", "message"), BAD_WEIGHTS, ids=[message[:20] for *_, message in BAD_WEIGHTS]
)
@pytest.mark.parametrize("nowait", [False, True])
async def test_a_bad_weight_is_the_producers_error(
    item: Any, kind: type[Exception], message: str, *, nowait: bool
) -> None:
    """A weight that is none is raised by enqueue; nothing is accepted, the queue goes on."""
    sink = Sink[Any]()
    queue = FlushQueue(sink, IntervalPolicy(9.0, max_weight=10), weigh=key_of)
    async with queue:
        await queue.enqueue(1)
        with pytest.raises(kind, match=message):
            if nowait:
                queue.enqueue_nowait(item)
            else:
                await queue.enqueue(item)
        assert 1 == queue.pending
        await queue.enqueue(2)
    assert [[1, 2]] == sink.batches


@pytest.mark.parametrize("weight", [0, 0.0, 10, 10.0, Fraction(19, 2), 1e-300, 2**62])
async def test_any_other_real_number_is_a_weight(weight: float) -> None:
    """Weights may be ints, floats and Fractions, from zero to the cap."""
    sink = Sink[float]()
    queue = FlushQueue(sink, Capped(max_weight=max(10, weight)), weigh=lambda item: item)
    async with queue:
        await queue.enqueue(weight)
    assert [[weight]] == sink.delivered


async def test_a_bad_item_does_not_disturb_producers_that_wait() -> None:
    """A producer whose weight is refused while others wait leaves their order as it is."""
    sink = HeldSink[float]()
    queue = FlushQueue(sink, NaturalPolicy(1), weigh=lambda item: item, max_queue_size=1)
    async with queue:
        await queue.enqueue(0)
        await settle()
        await queue.enqueue(1)
        items = [2.0, -1.0, 3.0, NAN, 4.0]
        waiting = [asyncio.create_task(error_of(queue.enqueue(item))) for item in items]
        await settle()
        sink.open()
        errors = await asyncio.gather(*waiting)
    refused = [type(error) for error in errors]
    assert [type(None), ValueError, type(None), ValueError, type(None)] == refused
    assert [0, 1, 2.0, 3.0, 4.0] == sink.items


@pytest.mark.parametrize(
    "weights",
    [[0.5, HUGE], [HUGE, 0.5], [1e308, 1e308], [Fraction(1, 3), 1e308, 1e308], [1e300] * 9],
    ids=["huge last", "huge first", "float", "fraction", "less"],
)
async def test_weights_whose_sum_no_float_can_hold(weights: list[float]) -> None:
    """Large finite weights are accepted and delivered, or refused to their producer."""
    sink = Sink[float](1.0)
    accepted = []
    queue = FlushQueue(sink, NaturalPolicy(), weigh=lambda item: item, max_shutdown_wait=60.0)
    try:
        async with queue:
            for weight in weights:
                error = await error_of(queue.enqueue(weight))
                assert error is None or type(error) is ValueError
                if error is None:
                    accepted.append(weight)
    except ShutdownTimeout:
        pytest.fail(f"{queue!r} was stuck")
    assert accepted == sink.items
