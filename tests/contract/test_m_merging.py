"""M1 to M4: items with the same key are merged into the one that waits.

`tests/threads/test_bounds.py` tests both drivers.
"""

import asyncio
import gc
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flushq import FlushQueue, NaturalPolicy, PolicyError, QueueFull
from flushq.core.buffer import Buffer
from flushq.core.partitioned_buffer import PartitionedBuffer
from tests.contract.hostile import Second
from tests.contract.support import HeldSink, Sink, enqueue_all, patient, produce, settle, steps

Texts = tuple[str, str]
"""A key, and a text that grows."""


def key_of(item: Texts) -> str:
    """Return the key of an item."""
    return item[0]


def join(waiting: Texts, new: Texts) -> Texts:
    """Append the new text to the waiting one."""
    return waiting[0], waiting[1] + new[1]


def replace(waiting: Texts, new: Texts) -> Texts:
    """Return the new item."""
    return new


def length(item: Texts) -> int:
    """Return the length of the text, which is its weight."""
    return len(item[1])


def joining(sink: Any, policy: Any = None, **options: Any) -> FlushQueue[Texts]:
    """Make a queue that joins the texts of a key."""
    rules = {"dedupe_key": key_of, "merge": join, "weigh": length, **options}
    return FlushQueue(sink, policy or patient(), **rules)


async def test_merge_is_called_once_and_asked_for_what_waits() -> None:
    """``merge`` is called once for each item, even if its need of room is computed before."""
    calls: list[tuple[Texts, Texts]] = []

    def merge(waiting: Texts, new: Texts) -> Texts:
        calls.append((waiting, new))
        return join(waiting, new)

    async with joining(Sink[Texts](), merge=merge, max_queue_weight=9) as queue:
        await enqueue_all(queue, [("a", "1"), ("a", "2")])
        queue.enqueue_nowait(("a", "3"))
        await queue.submit(("a", "4"))
    expected = [(("a", "123"[:count]), ("a", "234"[count - 1])) for count in (1, 2, 3)]
    assert expected == calls


@pytest.mark.parametrize("waits", [True, False])
async def test_an_item_that_was_refused_may_be_changed(*, waits: bool) -> None:
    """An item that was refused can change and come again; its new state is merged."""
    sink = Sink[Any]()
    queue: FlushQueue[Any] = joining(
        sink, merge=lambda waiting, new: (waiting[0], waiting[1] + new[1]), max_queue_weight=4
    )
    await enqueue_all(queue, [("a", "1"), ("b", "23")])
    item = ["a", "45"]
    if waits:
        waiting = produce(queue, item)
        await settle()
        waiting.cancel()
        await settle()
    else:
        with pytest.raises(QueueFull):
            queue.enqueue_nowait(item)
    item[1] = "6"
    queue.enqueue_nowait(item)
    async with queue:
        pass
    assert [[("a", "16"), ("b", "23")]] == sink.batches


async def test_a_producer_that_needs_more_at_its_turn_waits_again_at_the_front() -> None:
    """If the waiting item becomes lighter, a merge needs more room; its producer waits first."""
    sink = HeldSink[Texts]()
    queue = joining(sink, NaturalPolicy(1), merge=replace, max_queue_weight=10)
    await enqueue_all(queue, [("b", "3" * 3), ("a", "6" * 6), ("a", "6" * 6)])
    heavier = produce(queue, ("a", "8" * 8))  # the merge needs 2
    await settle()
    behind = produce(queue, ("c", "2" * 2))
    await settle()
    lighter = produce(queue, ("a", "1"))  # the merge needs nothing
    await settle()
    assert [False, True, True] == [each.done() for each in (heavier, behind, lighter)]
    last = produce(queue, ("d", "4"))
    await settle()
    assert not last.done()
    async with queue:
        await settle()
        assert [True, False] == [heavier.done(), last.done()]
        sink.open()
        await last
    assert [("b", "333"), ("a", "8" * 8), ("c", "22"), ("d", "4")] == sink.items


async def test_an_item_whose_key_has_left_while_it_paused() -> None:
    """If the waiting item is cut while a producer pauses, the new item comes in alone."""
    sink = HeldSink[Texts]()
    queue = joining(sink, NaturalPolicy(), max_queue_size=2, max_queue_weight=4)
    async with queue:
        await queue.enqueue(("a", "1"))
        for _ in range(600):
            queue.enqueue_nowait(("a", ""))
        await queue.enqueue(("a", "234"))
        await settle()
        assert [[("a", "1")]] == sink.batches
        assert 1 == queue.pending
        sink.open()
    assert [[("a", "1")], [("a", "234")]] == sink.batches


async def open_soon(sink: HeldSink[Texts]) -> None:
    """Open a sink when the loop is idle."""
    await settle()
    sink.open()


@pytest.mark.not_in("eager", reason="the other producer would come first")
async def test_a_producer_that_needs_more_after_its_pause_keeps_its_turn() -> None:
    """If the waiting item is cut during a pause, its producer waits before later ones."""
    for moment in range(8):
        sink = HeldSink[Texts]()
        async with joining(sink, NaturalPolicy(1), merge=replace, max_queue_weight=10) as queue:
            await queue.enqueue(("f", ""))
            await settle()
            await enqueue_all(queue, [("a", "123"), ("x", "12345")])
            sink.let_go()
            await steps(moment)
            behind = produce(queue, ("q", "1234"))  # begins while the other producer pauses
            for _ in range(600):
                queue.enqueue_nowait(("x", "12345"))
            opening = asyncio.create_task(open_soon(sink))
            await queue.enqueue(("a", "12345"))
            await asyncio.gather(opening, behind)
        keys = [key for key, _ in sink.items]
        assert len(keys) - 1 - keys[::-1].index("a") < keys.index("q")


@pytest.mark.not_in("eager", reason="the pause of an eager producer has already ended")
async def test_a_pause_with_a_claim_to_weight_is_not_a_deadlock() -> None:
    """A pausing producer may give its weight back, so a flush that waits for it is no deadlock."""
    inside = asyncio.Event()
    batches = []

    async def sink(batch: list[Texts]) -> None:
        batches.append(batch)
        if batch == [("f", "")]:
            await inside.wait()
            await queue.enqueue(("b", "123"))

    def bring_a_burst() -> None:
        for _ in range(600):
            queue.enqueue_nowait(("a", ""))

    queue = joining(sink, NaturalPolicy(), max_queue_weight=4)
    async with queue:
        await queue.enqueue(("f", ""))
        await settle()
        await queue.enqueue(("a", "1"))
        await settle()
        asyncio.get_running_loop().call_soon(bring_a_burst)
        pausing = produce(queue, ("a", "234"))
        inside.set()
        await asyncio.sleep(0)
        pausing.cancel()
    assert [[("f", "")], [("a", "1"), ("b", "123")]] == batches


async def test_a_line_of_merges_waits_for_what_they_add() -> None:
    """A merge that adds no weight need not wait in line; one that adds weight must wait."""
    sink = Sink[Texts]()
    queue = joining(sink, max_queue_weight=4)
    await enqueue_all(queue, [("a", "12"), ("b", "3")])
    waiting = produce(queue, ("c", "45"))
    await settle()
    queue.enqueue_nowait(("a", ""))
    with pytest.raises(Exception, match="no room: 2 items wait"):
        queue.enqueue_nowait(("a", "6"))
    async with queue:
        await waiting
    assert [[("a", "12"), ("b", "3")], [("c", "45")]] == sink.batches


async def test_a_policy_that_is_asked_again_may_fail() -> None:
    """A policy that fails when it is asked about corrected facts ends the queue."""

    class Picky(Second):
        """A policy that answers None if the weight is 3."""

        def decide(self, now: float) -> Any:
            """Decide like Second, or answer None if the weight is 3."""
            return None if self.queue.weight == 3 else super().decide(now)

    queue = joining(Sink[Texts](), Picky())
    await queue.enqueue(("a", "1"))
    await settle()
    await queue.enqueue(("a", "23"))
    with pytest.raises(PolicyError, match="answered the corrected facts with None"):
        async with queue:
            await settle()
    assert [("a", "123")] == queue.undelivered


async def test_nothing_is_kept_of_what_was_merged() -> None:
    """After a merge the queue keeps neither of the two old items."""

    class Item:
        """An item that can have a weak reference."""

    items = [Item() for _ in range(3)]
    alive = [weakref.ref(item) for item in items]
    queue: FlushQueue[Item] = FlushQueue(
        Sink[Item](), patient(), dedupe_key=lambda _: 1, merge=lambda old, new: new
    )
    for _ in range(3):
        await queue.enqueue(items.pop(0))
    gc.collect()
    assert [False, False, True] == [reference() is not None for reference in alive]
    await queue.aclose()


BRINGING: dict[str, dict[str, Any]] = {
    "the same key": {},
    "the same key, by weight": {"max_queue_weight": 9},
    "another key": {"max_queue_size": 1, "when_full": "drop_oldest"},
}


@pytest.mark.parametrize("how", BRINGING)
@pytest.mark.parametrize("more", [{}, {"partition_key": len}], ids=["one queue", "partitions"])
async def test_merge_must_not_bring_what_changes_the_item_that_waits(
    how: str, more: dict[str, Any]
) -> None:
    """If merge enqueues an item of the same key, that item is accepted, and the new one refused.

    Otherwise the merge would overwrite the waiting item, with all that came meanwhile.
    """
    brought = [("a" if how.startswith("the same") else "b", "3")]

    def merge(waiting: Texts, new: Texts) -> Texts:
        if brought:
            queue.enqueue_nowait(brought.pop())
        return join(waiting, new)

    sink = Sink[Texts]()
    queue = joining(sink, merge=merge, name="sums", **more, **BRINGING[how])
    await queue.enqueue(("a", "1"))
    with pytest.raises(RuntimeError, match=r"^sums: merge must not enqueue .*: \('a', '1'\)$"):
        await queue.enqueue(("a", "2"))
    stats = queue.stats()
    assert (2, 1) == (stats.accepted, stats.pending)
    async with queue:
        pass
    assert [[("b", "3") if stats.displaced else ("a", "13")]] == sink.batches


@pytest.mark.parametrize("more", [{}, {"partition_key": len}], ids=["one queue", "partitions"])
async def test_a_key_is_the_same_if_a_dict_finds_it(more: dict[str, Any]) -> None:
    """Keys are the same if a dict finds them: nan is, although it is not equal to itself."""
    sink, nan = Sink[Any](), float("nan")
    rules: dict[str, Any] = {"dedupe_key": key_of, "merge": join, **more}
    async with FlushQueue(sink, patient(), **rules) as queue:
        await enqueue_all(queue, [(nan, "1"), (nan, "2")])
    assert [[(nan, "12")]] == sink.batches


async def test_an_item_may_be_awaitable() -> None:
    """``merge`` may return an awaitable item; only a coroutine is refused as async."""

    async def merge(waiting: object, new: object) -> object:
        return new

    answers: list[Any] = [asyncio.get_running_loop().create_future(), merge(1, 2)]
    sink = Sink[Any]()
    rules: dict[str, Any] = {"dedupe_key": lambda _: 1, "merge": lambda *_: answers.pop()}
    async with FlushQueue(sink, patient(), **rules) as queue:
        await queue.enqueue(1)
        with pytest.raises(TypeError, match="merge must not be async: it returned <coroutine"):
            await queue.enqueue(2)
        future = answers[0]
        await queue.enqueue(3)
    assert [[future]] == sink.batches


Action = tuple[str, str] | int
"""A key and a letter to bring, or the most items to take."""


def take_some(buffer: Any, most: int) -> tuple[list[Texts], float]:
    """Take a batch from a buffer, or from its first partition."""
    if isinstance(buffer, Buffer):
        items, weight, _ = buffer.take(most)
        return items, weight
    for partition in buffer.partitions.values():
        _, items, weight, _ = buffer.take_from(partition, min(most, len(partition.numbers)))
        return items, weight
    return [], 0


BUFFERS: dict[str, Callable[..., Any]] = {
    "one queue": Buffer,
    "partitions": lambda *rules, **more: PartitionedBuffer(lambda _: 1, *rules, **more),
}


@pytest.mark.parametrize("make", BUFFERS.values(), ids=BUFFERS)
@given(
    actions=st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")) | st.integers(1, 3), max_size=30
    )
)
def test_what_is_delivered_is_the_left_fold(
    make: Callable[..., Any], actions: list[Action]
) -> None:
    """Each delivered item is the left fold of the items of its key that came since the last cut."""
    buffer = make(key_of, length, merge=join)
    folded: dict[str, str] = {}
    for action in [*actions, 3]:
        if isinstance(action, tuple):
            buffer.append(action)
            folded[action[0]] = folded.get(action[0], "") + action[1]
        else:
            oldest = [(key, folded.pop(key)) for key in list(folded)[:action]]
            assert (oldest, sum(map(length, oldest))) == take_some(buffer, action)


@pytest.mark.parametrize("make", BUFFERS.values(), ids=BUFFERS)
def test_what_was_foreseen_is_made_of_the_item_that_waits(make: Callable[..., Any]) -> None:
    """A merge that was computed in advance is computed again if the waiting item has changed."""
    buffer = make(key_of, length, merge=join)
    buffer.append(("a", "1"))
    other, new = ("a", "23"), ("a", "4")
    of_other, of_new = buffer.measure(other), buffer.measure(new)
    assert 1 == buffer.growth(new, of_new[0])
    take_some(buffer, 1)
    buffer.add(other, *of_other)
    buffer.add(new, *of_new)
    assert ([("a", "234")], 3) == take_some(buffer, 1)


class Unread:
    """A list of a thousand items that cannot be read."""

    def __len__(self) -> int:
        """Return the length."""
        return 1000


def test_a_merge_costs_the_same_however_many_wait() -> None:
    """A merge reads only its own item, and does not search any list."""
    for make in BUFFERS.values():
        buffer = make(abs, abs, merge=max)
        for item in range(1000):
            buffer.append(item)
        unread = {"items": Unread(), "_weights": Unread(), "numbers": Unread(), "weights": Unread()}
        for waiting in [buffer, *getattr(buffer, "partitions", {}).values()]:
            for name in unread.keys() & {*dir(waiting)}:
                with suppress(AttributeError):
                    setattr(waiting, name, unread[name])
        assert (500, 500) == (buffer.append(500), buffer[500])
