"""Point 15, first half: a bad argument raises in the call that passes it, and is shown.

These tests try one bad value of each kind for each argument of a queue. The checks themselves are
tested in `tests.test_arguments`, caps in point 4, the arguments of policies in `tests.policies`.
"""

import asyncio
import functools
import math
import re
import threading
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from flushq import FlushFailed, FlushQueue, IntervalPolicy, ItemTooLarge, NaturalPolicy
from tests.contract.hostile import error_of
from tests.contract.support import HeldSink, Sink, enqueue_all, settle

# The constructor.


async def coroutine(*_: Any) -> int:
    """Return a number, but only when awaited."""
    return 1


async def generator(item: Any) -> Any:
    """Yield the item: this is an async generator."""
    yield item


class AsyncCallable:
    """An object whose call is async."""

    async def __call__(self, item: Any) -> int:
        """Return a number, but only when awaited."""
        return 1


class Locked(NaturalPolicy):
    """A policy that cannot be copied and has no repr, since it forgets ``super().__init__()``."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


HUGE = 10**309  # more than any float can hold

BAD: list[tuple[str, Any, type[Exception], str]] = [
    *(
        (name, *case)
        for name in ("max_queue_size", "max_in_flight")
        for case in (
            (0, ValueError, "0"),
            (-3, ValueError, "-3"),
            (True, TypeError, "True"),
            (2.0, TypeError, "2.0"),
            (None, TypeError, "None"),
        )
    ),
    *(
        (name, *case)
        for name in ("dedupe_key", "weigh", "partition_key", "lost_as")
        for case in (
            ("id", TypeError, "'id'"),
            (coroutine, TypeError, "coroutine"),
            (AsyncCallable(), TypeError, "AsyncCallable"),
            (functools.partial(coroutine), TypeError, "partial("),
            (generator, TypeError, "async"),
        )
    ),
    ("max_shutdown_wait", -0.5, ValueError, "-0.5"),
    ("max_shutdown_wait", math.nan, ValueError, "nan"),
    ("max_shutdown_wait", HUGE, ValueError, str(HUGE)),
    ("max_shutdown_wait", True, TypeError, "True"),
    ("max_shutdown_wait", Decimal(3), TypeError, "Decimal('3')"),
    ("flush_fn", None, TypeError, "None"),
    ("policy", 5.0, TypeError, "5.0"),
    ("policy", NaturalPolicy, TypeError, "NaturalPolicy"),
    ("policy", Locked(), TypeError, "a deep copy of the policy <tests.contract"),
]


@pytest.mark.parametrize(("name", "value", "kind", "shown"), BAD)
def test_a_bad_argument_is_refused_with_its_value(
    name: str, value: Any, kind: type[Exception], shown: str
) -> None:
    """A bad argument of a queue is refused, with a message that names it and its value."""
    arguments = {"flush_fn": coroutine, "policy": NaturalPolicy(), name: value}
    with pytest.raises(kind, match=re.escape(shown)) as caught:
        FlushQueue(**arguments)
    assert kind is type(caught.value)
    assert re.search(rf"\b{name}\b", str(caught.value))


async def test_a_sink_that_is_not_async_is_found_out_when_it_is_called() -> None:
    """A flush_fn whose result cannot be awaited is a TypeError that shows the result."""
    flush_fn: Any = sum
    queue: FlushQueue[int] = FlushQueue(flush_fn, NaturalPolicy())
    await queue.enqueue(42)
    with pytest.raises(FlushFailed) as caught:
        await queue.aclose()
    assert isinstance(caught.value.__cause__, TypeError)
    assert "42" in str(caught.value.__cause__)


# Keys and weights.


class Unequal:
    """A key that can be hashed but not compared."""

    def __hash__(self) -> int:
        """Return the same hash for all keys."""
        return 1

    def __eq__(self, other: object) -> bool:
        """Raise ZeroDivisionError."""
        raise ZeroDivisionError("cannot compare")


def fail() -> Any:
    """Raise ZeroDivisionError."""
    raise ZeroDivisionError("not this item")


def value_of(item: Any) -> Any:
    """Return the item, or the result of calling it if it is callable."""
    return item() if callable(item) else item


BAD_ITEMS: list[tuple[str, Any, type[Exception], str]] = [
    ("dedupe_key", fail, ZeroDivisionError, "not this item"),
    ("dedupe_key", coroutine, TypeError, "async"),
    ("dedupe_key", (1, []), TypeError, r"\(1, \[\]\)"),
    ("dedupe_key", Unequal(), ZeroDivisionError, "cannot compare"),
    ("weigh", fail, ZeroDivisionError, "not this item"),
    ("weigh", coroutine, TypeError, "async"),
    ("weigh", math.inf, ValueError, "inf"),
    ("weigh", Fraction(-1, 3), ValueError, r"Fraction\(-1, 3\)"),
    ("weigh", HUGE, ValueError, str(HUGE)),
    ("weigh", False, TypeError, "False"),
    ("weigh", Decimal(1), TypeError, "Decimal"),
    ("weigh", 10.5, ItemTooLarge, "10.5.*max_weight=10"),
]


@pytest.mark.parametrize(("name", "item", "kind", "message"), BAD_ITEMS)
@pytest.mark.parametrize("nowait", [False, True])
async def test_a_bad_key_or_weight_is_the_producers_error(
    name: str, item: Any, kind: type[Exception], message: str, *, nowait: bool
) -> None:
    """Enqueue raises the error of a key or weight; the item is refused, and the queue works on."""
    sink = Sink[Any]()
    first = Unequal() if name == "dedupe_key" else 1
    functions: dict[str, Any] = {"weigh": lambda _: 1, name: value_of}
    async with FlushQueue(sink, IntervalPolicy(9.0, max_weight=10), **functions) as queue:
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
    """If the key of a producer that gets room cannot be compared, the next one gets the room."""
    sink = HeldSink[Any]()
    queue = FlushQueue(sink, NaturalPolicy(1), dedupe_key=value_of, max_queue_size=2)
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
