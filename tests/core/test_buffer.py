"""The buffer keeps the order, finds duplicates, and takes the longest batch within the caps."""

import functools
import gc
import math
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flushq.core.buffer import Buffer
from flushq.errors import ItemTooLarge
from tests.models import cut_size
from tests.narrow import Narrow, NarrowInteger, NarrowRational, NarrowReal
from tests.strategies import UNITS, WEIGHTS


@attrs.frozen(eq=False)
class Item:
    """An item with a key and a weight; it equals no other item."""

    key: int
    weight: Any


def key_of(item: Item) -> int:
    """Return the key of an item."""
    return item.key


def weight_of(item: Item) -> Any:
    """Return the weight of an item."""
    return item.weight


ROUNDS = st.tuples(
    st.lists(st.tuples(st.integers(0, 9), WEIGHTS), max_size=9),
    st.none() | st.integers(1, 5),
)
"""The keys and weights of new items, and the ``up_to`` of the batch that is taken then."""


@given(
    rounds=st.lists(ROUNDS, min_size=1, max_size=6),
    unit=UNITS,
    keyed=st.booleans(),
    measured=st.booleans(),
    max_records=st.none() | st.integers(1, 5),
    heaviest=st.none() | st.integers(4, 9),
)
def test_a_buffer_is_a_list_that_is_taken_from_the_front(
    *,
    rounds: list[tuple[list[tuple[int, int]], int | None]],
    unit: Any,
    keyed: bool,
    measured: bool,
    max_records: int | None,
    heaviest: int | None,
) -> None:
    """A buffer always behaves like a plain list of the waiting items."""
    max_weight = None if heaviest is None else heaviest * unit
    buffer = Buffer(key_of if keyed else None, weight_of, max_records, max_weight)
    waiting: list[Item] = []
    for items, up_to in rounds:
        for item in (Item(key, weight * unit) for key, weight in items):
            key, weight = buffer.measure(item)
            assert (item.key if keyed else None, item.weight) == (key, weight)
            waits = keyed and any(other.key == key for other in waiting)
            assert waits == buffer.is_duplicate(key)
            if measured:
                buffer.add(item, key, weight)
            else:
                buffer.append(item)
            if not waits:
                waiting.append(item)
        assert len(waiting) == len(buffer)
        size = cut_size([item.weight for item in waiting], up_to, max_records, max_weight)
        batch, waiting = waiting[:size], waiting[size:]
        assert (batch, sum(item.weight for item in batch)) == buffer.take(up_to)[:2]
    assert waiting == buffer.take_all()[1]
    assert 0 == len(buffer)
    assert not any(buffer.is_duplicate(key) for key in range(10))


def test_items_are_numbered_in_the_order_in_which_they_came() -> None:
    """An item keeps its number while it waits; ``append`` of a duplicate returns that number."""
    buffer: Buffer[str] = Buffer(dedupe_key=str.lower, max_records=2)
    for item in ("A", "B", "C", "D"):
        buffer.add(item, *buffer.measure(item))
    assert (0, 4) == (buffer.first, buffer.next_number)
    buffer.take()
    buffer.add("a", *buffer.measure("a"))
    assert (2, 5) == (buffer.first, buffer.next_number)
    assert [2, 3, 4] == [buffer.append(item) for item in "cDA"]
    assert (3, 5) == (buffer.duplicates, buffer.next_number)
    assert ["C", "D", "a"] == [buffer[number] for number in (2, 3, 4)]


@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("weighed", [True, False])
def test_append_counts_what_comes(*, keyed: bool, weighed: bool) -> None:
    """Duplicates are counted and have no weight; the weights of the others are added up."""
    buffer = Buffer(key_of if keyed else None, weight_of if weighed else None)
    for key, weight in ((1, 2), (2, 3), (1, 4)):
        buffer.append(Item(key, weight))
    assert 3 == len(buffer) + buffer.duplicates
    assert (1 if keyed else 0) == buffer.duplicates
    assert sum(item.weight for item in buffer.take_all()[1] if weighed) == buffer.fresh_weight


@pytest.mark.parametrize("keyed", [True, False])
def test_append_measures_an_item_once(*, keyed: bool) -> None:
    """Key and weight of an item are computed once, whether it is accepted or not."""
    asked: list[float] = []

    def weigh(weight: float) -> float:
        asked.append(weight)
        return weight

    def key(weight: float) -> float:
        asked.append(weight)
        return weight

    buffer = Buffer(key if keyed else None, weigh, max_weight=5)
    buffer.append(1)
    with pytest.raises(ItemTooLarge):
        buffer.append(6)
    assert ([1, 1, 6, 6] if keyed else [1, 6]) == asked
    assert (1, 1) == (len(buffer), buffer.fresh_weight)


def test_none_is_a_key() -> None:
    """A dedupe_key may return None, and two such items are duplicates."""
    buffer: Buffer[str] = Buffer(dedupe_key=lambda _: None)
    buffer.add("a", *buffer.measure("a"))
    assert buffer.is_duplicate(None)


LENGTHS = [1, 63, 64, 65, 191, 192, 193, 448, 449, 1000]


@pytest.mark.parametrize("most", LENGTHS)
@pytest.mark.parametrize("room", [0, 1, 1000])
def test_a_long_batch_is_the_longest_within_the_cap(*, most: int, room: int) -> None:
    """A batch of any length reaches one cap, and exceeds none."""
    by_weight: Buffer[int] = Buffer(weigh=lambda item: item, max_weight=most)
    by_number: Buffer[int] = Buffer(weigh=lambda item: item, max_weight=most + room)
    for buffer in (by_weight, by_number):
        for _ in range(most + room):
            buffer.append(1)
    assert ([1] * most, most, [1] * most) == by_weight.take()
    assert ([1] * most, most, [1] * most) == by_number.take(up_to=most)
    assert [room, room] == [len(by_weight), len(by_number)]


class CountingDeque(deque[Any]):
    """A deque that counts the items that are read from it."""

    reads = 0

    def __iter__(self) -> Iterator[Any]:
        for item in super().__iter__():
            CountingDeque.reads += 1
            yield item

    def popleft(self) -> Any:
        """Count a read, and take the first item."""
        CountingDeque.reads += 1
        return super().popleft()


def reads_of_a_batch(buffer: Buffer[int]) -> int:
    """Take a batch, and return how many items, keys and weights were read for it."""
    before = CountingDeque.reads
    buffer.take()
    return CountingDeque.reads - before


@pytest.mark.parametrize("size", [1, 10, 100, 500])
def test_to_take_by_weight_costs_what_the_batch_does(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of reads is proportional to the batch, not to the number of waiting items."""
    monkeypatch.setattr("flushq.core.buffer.deque", CountingDeque)
    reads = []
    for waiting in (2_000, 20_000):
        buffer: Buffer[int] = Buffer(weigh=lambda _: 1, max_weight=size)
        for item in range(waiting):
            buffer.append(item)
        reads.append(reads_of_a_batch(buffer))
    assert reads[0] == reads[1]
    assert reads[0] <= 64 + 8 * size


class Latecomer:
    """A reference cycle that adds an item when it is collected."""

    def __init__(self, append: Callable[[int], object]) -> None:
        self._append = append
        self._circle = self

    def __del__(self) -> None:
        self._append(0)


@contextmanager
def collection_after(allocations: int) -> Iterator[None]:
    """Let the garbage collector run in a block after this many allocations."""
    before = gc.get_threshold()
    gc.set_threshold(gc.get_count()[0] + allocations, *before[1:])
    gc.enable()
    try:
        yield
    finally:
        gc.disable()
        gc.set_threshold(*before)


@pytest.fixture
def _collected_by_hand() -> Iterator[None]:
    """Disable garbage collection, except where a test enables it."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_collected_by_hand")
def test_an_item_may_come_at_any_moment_while_a_batch_is_taken() -> None:
    """If an item comes during a garbage collection, the batch is the same, and the item waits."""
    for allocations in range(1, 40):
        buffer: Buffer[int] = Buffer(weigh=lambda _: 1, max_weight=300)
        for item in range(1, 1000):
            buffer.append(item)
        gc.collect(0)
        Latecomer(buffer.append)
        with collection_after(allocations):
            assert (list(range(1, 301)), 300) == buffer.take()[:2]
        gc.collect(0)
        assert [*range(301, 1000), 0] == buffer.take_all()[1]


@pytest.mark.parametrize(
    ("item", "error", "message"),
    [
        (5.5, ItemTooLarge, "the item weighs 5.5, more than max_weight=5: 5.5"),
        (-1, ValueError, "the weight of an item must be at least 0, not -1"),
        (math.nan, ValueError, "the weight of an item must be at least 0, not nan"),
        (math.inf, ValueError, "the weight of an item must be at most 1e+300, not inf"),
        (1.1e300, ValueError, "the weight of an item must be at most 1e+300, not 1.1e+300"),
        ("1", TypeError, "the weight of an item must be a real number, not '1'"),
        (None, TypeError, "the weight of an item must be a real number, not None"),
        (True, TypeError, "the weight of an item must be a real number, not True"),
    ],
)
def test_a_wrong_weight_is_refused(item: Any, error: type[Exception], message: str) -> None:
    """A wrong weight is refused, the message shows it, and nothing changes."""
    buffer: Buffer[Any] = Buffer(weigh=lambda item: item, max_weight=5)
    for let_in in (buffer.measure, buffer.append):
        with pytest.raises(error, match=f"^{re.escape(message)}$"):
            let_in(item)
    assert 0 == len(buffer)


def test_a_refused_item_is_shown_in_short() -> None:
    """The message of an ItemTooLarge does not grow with the item."""
    buffer: Buffer[str] = Buffer(weigh=len, max_weight=5)
    message = r"^the item weighs 1000000, more than max_weight=5: 'a+\.\.\.a+'$"
    with pytest.raises(ItemTooLarge, match=message) as caught:
        buffer.measure("a" * 1_000_000)
    assert len(str(caught.value)) < 200


def test_a_key_that_cannot_be_hashed_is_refused() -> None:
    """A key that cannot be hashed is a TypeError that shows it, and nothing changes."""
    buffer: Buffer[Any] = Buffer(dedupe_key=lambda item: item)
    for let_in in (buffer.measure, buffer.append):
        with pytest.raises(TypeError, match=r"^the key .* must be hashable, not \[1\]$"):
            let_in([1])
    assert (0, 0) == (len(buffer), buffer.duplicates)


@pytest.mark.parametrize("weight", [0, 0.5, Fraction(1, 3), 1e300, Fraction(1e300)])
def test_a_weight_is_any_number_up_to_1e300(weight: float) -> None:
    """Weights are ints, floats or Fractions, and keep their type."""
    buffer: Buffer[float] = Buffer(weigh=lambda item: item)
    assert weight is buffer.measure(weight)[1]


NARROW = pytest.mark.parametrize(
    ("narrow", "plain"), [(NarrowInteger, int), (NarrowReal, float), (NarrowRational, Fraction)]
)
"""Types whose sums wrap around at 16 bits, and the plain types of their numbers."""


@NARROW
@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("measured", [True, False])
def test_weights_of_few_bits_do_not_wrap_round(
    narrow: type[Narrow], plain: type[Any], *, keyed: bool, measured: bool
) -> None:
    """Sums of weights are right in facts and batches, even if those of their type wrap around."""
    buffer = Buffer(key_of if keyed else None, weight_of, max_weight=100_000)
    for item in (Item(key, narrow(1000)) for key in range(250)):
        if measured:
            buffer.add(item, *buffer.measure(item))
        else:
            buffer.append(item)
    assert (plain, 250_000) == (type(buffer.fresh_weight), buffer.fresh_weight)
    batches = [buffer.take() for _ in range(3)]
    assert [100, 100, 50] == [len(items) for items, _, _ in batches]
    assert [100_000, 100_000, 50_000] == [weight for _, weight, _ in batches]


@NARROW
def test_a_cap_of_few_bits_does_not_wrap_round(narrow: type[Narrow], plain: type[Any]) -> None:
    """A max_weight is compared and shown as a plain number."""
    max_weight: Any = narrow(5)
    buffer: Buffer[int] = Buffer(weigh=lambda item: item, max_weight=max_weight)
    message = f"more than max_weight={plain(5)!r}: {2**16}"
    with pytest.raises(ItemTooLarge, match=re.escape(message)):
        buffer.append(2**16)
    for item in (3, 2, 1):
        buffer.append(item)
    assert ([3, 2], 5, [3, 2]) == buffer.take()


@pytest.mark.parametrize("name", ["dedupe_key", "weigh"])
def test_what_a_function_of_the_users_raises_is_raised(name: str) -> None:
    """An exception of dedupe_key or weigh is raised unchanged."""

    def fail(item: str) -> Any:
        raise LookupError(item)

    options: dict[str, Any] = {name: fail}
    with pytest.raises(LookupError, match=r"^'?a'?$"):
        Buffer(**options).measure("a")


async def coroutine_function(item: str) -> int:
    """Return a number, but only when awaited: a key or a weight must not be async."""
    return len(item)


def plain_function(item: str) -> Any:
    """Return a coroutine, without being async itself."""
    return coroutine_function(item)


async def async_generator(item: str) -> AsyncIterator[int]:
    """Yield a number: this is an async generator."""
    yield len(item)


class Awaitable:
    """An awaitable that is not a coroutine."""

    def __await__(self) -> Any:
        """Wait for nothing."""
        yield


@pytest.mark.parametrize("name", ["dedupe_key", "weigh"])
@pytest.mark.parametrize(
    ("function", "flaw"),
    [
        ("id", "must be callable, not 'id'"),
        (coroutine_function, "must not be async: "),
        (async_generator, "must not be async: "),
        (functools.partial(coroutine_function), "must not be async: "),
    ],
    ids=["text", "coroutine", "generator", "partial"],
)
def test_a_function_that_will_not_do_is_refused(name: str, function: Any, flaw: str) -> None:
    """A dedupe_key or weigh that is async or not callable is a TypeError of the constructor."""
    options: dict[str, Any] = {name: function}
    with pytest.raises(TypeError, match=f"^{name} {flaw}"):
        Buffer(**options)


def test_max_weight_needs_weigh() -> None:
    """A max_weight without weigh is a TypeError that shows the cap."""
    with pytest.raises(TypeError, match=r"^max_weight=2\.5 needs weigh, a function that returns"):
        Buffer(max_weight=2.5)


@pytest.mark.parametrize("name", ["dedupe_key", "weigh"])
@pytest.mark.parametrize(
    "function",
    [plain_function, lambda _: Awaitable()],
    ids=["coroutine", "awaitable"],
)
def test_an_async_function_is_refused_when_it_shows(
    name: str, function: Callable[[str], Any]
) -> None:
    """An awaitable key or weight is refused, and no coroutine is left."""
    options: dict[str, Any] = {name: function}
    with pytest.raises(TypeError, match=f"^{name} must not be async: it returned <"):
        Buffer(**options).measure("a")
