"""The buffer keeps order, knows its duplicates, and gives the longest batch within the caps."""

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
    """An item with a key and a weight; equal to no other."""

    key: int
    weight: Any


def key_of(item: Item) -> int:
    """The key of an item."""
    return item.key


def weight_of(item: Item) -> Any:
    """The weight of an item."""
    return item.weight


ROUNDS = st.tuples(
    st.lists(st.tuples(st.integers(0, 9), WEIGHTS), max_size=9),
    st.none() | st.integers(1, 5),
)
"""Some items come, by key and weight, and then a batch is taken."""


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
    """Whatever comes and goes, a buffer is a plain list of the items that wait."""
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
    """An item keeps its number while it waits; a duplicate is told that of the one that stays."""
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
    """A duplicate is counted and weighs nothing; the others are weighed together."""
    buffer = Buffer(key_of if keyed else None, weight_of if weighed else None)
    for key, weight in ((1, 2), (2, 3), (1, 4)):
        buffer.append(Item(key, weight))
    assert 3 == len(buffer) + buffer.duplicates
    assert (1 if keyed else 0) == buffer.duplicates
    assert sum(item.weight for item in buffer.take_all()[1] if weighed) == buffer.fresh_weight


@pytest.mark.parametrize("keyed", [True, False])
def test_append_measures_an_item_once(*, keyed: bool) -> None:
    """Whether an item is let in or not, its key and its weight are asked for once."""
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
    """However many items a batch holds, neither cap is exceeded and one of them is reached."""
    by_weight: Buffer[int] = Buffer(weigh=lambda item: item, max_weight=most)
    by_number: Buffer[int] = Buffer(weigh=lambda item: item, max_weight=most + room)
    for buffer in (by_weight, by_number):
        for _ in range(most + room):
            buffer.append(1)
    assert ([1] * most, most, [1] * most) == by_weight.take()
    assert ([1] * most, most, [1] * most) == by_number.take(up_to=most)
    assert [room, room] == [len(by_weight), len(by_number)]


class CountingDeque(deque[Any]):
    """A deque that counts what is read of it, one by one or in a row."""

    reads = 0

    def __iter__(self) -> Iterator[Any]:
        for item in super().__iter__():
            CountingDeque.reads += 1
            yield item

    def popleft(self) -> Any:
        """Take the first."""
        CountingDeque.reads += 1
        return super().popleft()


def reads_of_a_batch(buffer: Buffer[int]) -> int:
    """How many items, keys and weights are read to take a batch."""
    before = CountingDeque.reads
    buffer.take()
    return CountingDeque.reads - before


@pytest.mark.parametrize("size", [1, 10, 100, 500])
def test_to_take_by_weight_costs_what_the_batch_does(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch costs reads in proportion to itself, and none of what waits far behind."""
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
    """Garbage in a circle: when it is collected, an item comes."""

    def __init__(self, append: Callable[[int], object]) -> None:
        self._append = append
        self._circle = self

    def __del__(self) -> None:
        self._append(0)


@contextmanager
def collection_after(allocations: int) -> Iterator[None]:
    """Have the garbage of a block collected after so many allocations, if there are as many."""
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
    """Garbage is collected only where a test has it so."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_collected_by_hand")
def test_an_item_may_come_at_any_moment_while_a_batch_is_taken() -> None:
    """Whenever the collector brings an item, the batch is the same, and the item waits behind."""
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
    """A weight of a wrong value or type is shown, and changes nothing."""
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
    """The TypeError shows the key, and nothing has changed."""
    buffer: Buffer[Any] = Buffer(dedupe_key=lambda item: item)
    for let_in in (buffer.measure, buffer.append):
        with pytest.raises(TypeError, match=r"^the key .* must be hashable, not \[1\]$"):
            let_in([1])
    assert (0, 0) == (len(buffer), buffer.duplicates)


@pytest.mark.parametrize("weight", [0, 0.5, Fraction(1, 3), 1e300, Fraction(1e300)])
def test_a_weight_is_any_number_up_to_1e300(weight: float) -> None:
    """Weights are ints, floats or Fractions, and stay what they are."""
    buffer: Buffer[float] = Buffer(weigh=lambda item: item)
    assert weight is buffer.measure(weight)[1]


NARROW = pytest.mark.parametrize(
    ("narrow", "plain"), [(NarrowInteger, int), (NarrowReal, float), (NarrowRational, Fraction)]
)
"""Types whose sums wrap round at 16 bits, and what their numbers become."""


@NARROW
@pytest.mark.parametrize("keyed", [True, False])
@pytest.mark.parametrize("measured", [True, False])
def test_weights_of_few_bits_do_not_wrap_round(
    narrow: type[Narrow], plain: type[Any], *, keyed: bool, measured: bool
) -> None:
    """The sums of weights are right whatever their type, in all that is told and in every batch."""
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
    """A max_weight is compared as the number that it is, whatever its type, and shown so."""
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
    """An exception of dedupe_key or weigh is the caller's, as it is."""

    def fail(item: str) -> Any:
        raise LookupError(item)

    options: dict[str, Any] = {name: fail}
    with pytest.raises(LookupError, match=r"^'?a'?$"):
        Buffer(**options).measure("a")


async def coroutine_function(item: str) -> int:
    """An async function, which neither a key nor a weight may come from."""
    return len(item)


def plain_function(item: str) -> Any:
    """A function that does not show that it is async."""
    return coroutine_function(item)


async def async_generator(item: str) -> AsyncIterator[int]:
    """A function whose result must be iterated, not even awaited."""
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
    """A dedupe_key or weigh that is async or not a function is a TypeError at construction."""
    options: dict[str, Any] = {name: function}
    with pytest.raises(TypeError, match=f"^{name} {flaw}"):
        Buffer(**options)


def test_max_weight_needs_weigh() -> None:
    """A cap on the weight without a way to weigh is a TypeError that shows the cap."""
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
    """What must be awaited is neither key nor weight, and no coroutine is left behind."""
    options: dict[str, Any] = {name: function}
    with pytest.raises(TypeError, match=f"^{name} must not be async: it returned <"):
        Buffer(**options).measure("a")
