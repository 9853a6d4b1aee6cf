"""T1 and T2: if enqueue returns, the item is accepted, once; if it raises, the item is not."""

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from types import FrameType
from typing import Any

import pytest

from flushq import NaturalPolicy, QueueClosed, QueueFull
from flushq.threads import FlushQueue
from tests.threads.stage import Order, Stage, all_orders, play
from tests.threads.support import (
    NEVER,
    Interrupt,
    Sink,
    at_every_step,
    at_every_step_on_stage,
    interrupt,
    queue_of,
)

CALLS = [FlushQueue.enqueue, FlushQueue.enqueue_nowait, FlushQueue.submit]


def put(queue: Any, item: Any, accepted: list[Any], timeout: float | None = None) -> None:
    """Enqueue an item, and note it if it was accepted."""
    try:
        queue.enqueue(item, timeout)
    except (TimeoutError, QueueClosed, QueueFull):
        return
    accepted.append(item)


def impatient_producers(stage: Stage) -> None:
    """Enqueue three items into a queue of size one, two of them with a timeout of one flush."""
    sink, accepted = Sink(stage, 1), list[Any]()
    with queue_of(sink, max_queue_size=1) as queue:
        tasks = [stage.spawn(partial(put, queue, item, accepted, 1)) for item in range(2)]
        put(queue, 2, accepted, None)
        for task in tasks:
            task.join()
    assert sorted(accepted) == sorted(sink.items)
    assert (0, 0) == (queue.pending, queue.stats().waiting)


def a_close_among_producers(stage: Stage) -> None:
    """Close a queue at any time while producers wait for room."""
    sink, accepted = Sink(), list[Any]()
    queue = queue_of(sink, max_queue_size=1)
    queue.start()
    tasks = [stage.spawn(partial(put, queue, item, accepted)) for item in range(2)]
    queue.close()
    for task in tasks:
        task.join()
    assert sorted(accepted) == sorted(sink.items)
    assert (0, "closed") == (queue.pending, queue.state)


@pytest.mark.parametrize("body", [impatient_producers, a_close_among_producers])
def test_there_is_no_third_outcome(body: Callable[[Stage], None]) -> None:
    """The accepted items, and no others, are delivered once, in every order of the threads."""
    for seed in range(40):
        play(body, seed)
    for seed in range(20):
        play(body, seed, preempt=0.03)


@pytest.mark.long
@pytest.mark.parametrize("most", [0, 1])
@pytest.mark.parametrize("body", [impatient_producers, a_close_among_producers])
def test_there_is_no_third_outcome_in_any_order(body: Callable[[Stage], None], most: int) -> None:
    """The same holds in every order with at most one switch from a thread that could continue."""
    order: Order
    for number, order in enumerate(all_orders(most)):
        play(body, order)
        if number == 5_000:
            break


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("has_credit", [False, True])
def test_an_interrupt_between_two_steps(call: Callable[..., Any], has_credit: bool) -> None:  # noqa: FBT001 - a parameter
    """A KeyboardInterrupt at any step of a call is raised, and the item is not accepted."""

    def play_once(make: Callable[[Callable[[], object]], None]) -> None:
        sink = Sink()
        queue = queue_of(sink)
        if has_credit:
            queue.enqueue("before")
        before, raised = queue.pending, False
        try:
            make(lambda: call(queue, "item"))
        except Interrupt:
            raised = True
        assert before + (not raised) == queue.pending
        queue.enqueue("after")
        queue.close()
        assert 1 - raised == sink.items.count("item")
        assert "after" == sink.items[-1]
        if raised:
            raise Interrupt

    assert at_every_step(interrupt, play_once) >= 1


def close_at_line(number: int, call: Callable[..., Any], queue: Any) -> None:
    """Make a call, and close the queue before the line of the call with this number."""
    lines = count(1)

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code is not call.__code__:
            return None
        if event == "line" and next(lines) == number:
            queue.close()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call(queue, "item")
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("call", [FlushQueue.enqueue, FlushQueue.enqueue_nowait])
def test_a_tracer_between_two_lines(call: Any) -> None:
    """If other threads run between two lines, as in a debugger, an accepted item is delivered."""
    for number in range(1, 8):
        queue = queue_of(Sink())
        queue.enqueue("gives credit")
        with suppress(QueueClosed):
            close_at_line(number, call, queue)
        queue.close()
        assert 0 == queue.pending


def test_an_interrupt_while_a_producer_waits() -> None:
    """The interrupt is raised, the item is not accepted, and the next producer gets its room."""

    def body(stage: Stage) -> None:
        sink, raised = Sink(stage, 1), list[str]()

        def enqueue_and_be_interrupted() -> None:
            try:
                queue.enqueue("interrupted")
            except Interrupt:
                raised.append("interrupted")

        with queue_of(sink, max_queue_size=1) as queue:
            queue.enqueue("first")
            stage.spawn(queue.flush)
            stage.sleep(0.5)
            queue.enqueue("second")
            waiting = stage.spawn(enqueue_and_be_interrupted)
            stage.sleep(0.1)
            following = stage.spawn(lambda: queue.enqueue("next"))
            stage.sleep(0.1)
            waiting.interrupt = Interrupt()
            waiting.join()
            following.join()
        assert ["interrupted"] == raised
        assert ["first", "second", "next"] == sink.items

    for seed in range(20):
        play(body, seed)


def test_an_interrupt_at_any_step_of_a_producer_that_is_given_room() -> None:
    """The interrupted producer takes the room that it was given, or the next one gets it."""

    def body(stage: Stage, make: Callable[[Callable[[], object]], None]) -> None:
        sink, outcome = Sink(stage, 1), list[str]()
        queue = queue_of(sink, max_queue_size=1)
        queue.enqueue("first")
        queue.start()

        def enqueue_next() -> None:
            stage.sleep(0.5)
            queue.enqueue("next")

        following = stage.spawn(enqueue_next)
        with suppress(Interrupt):
            make(lambda: queue.enqueue("item"))
            outcome.append("item")
        following.join()
        queue.close()
        assert ["first", *outcome, "next"] == sink.items

    at_every_step_on_stage(interrupt, body)


def start_and_enqueue(queue: Any) -> None:
    """Start the queue and enqueue an item; one of the two calls starts the keeper."""
    queue.start()
    queue.enqueue("item")


@pytest.mark.parametrize("before", [[], ["before"]])
def test_an_interrupt_at_any_step_of_what_starts_the_keeper(before: list[str]) -> None:
    """If an interrupted call has not started the keeper, the next call does; no item is lost."""

    def body(stage: Stage, make: Callable[[Callable[[], object]], None]) -> None:
        sink, outcome = Sink(), before.copy()
        queue = queue_of(sink, NaturalPolicy(1))
        for item in before:
            queue.enqueue(item)
        with suppress(Interrupt):
            make(lambda: start_and_enqueue(queue))
            outcome.append("item")
        if queue.state == "new":
            queue.start()
        queue.enqueue("next")
        stage.sleep(1)
        assert [*outcome, "next"] == sink.items
        queue.close()

    at_every_step_on_stage(interrupt, body)


def test_timeouts() -> None:
    """T2: a timeout limits each call, in seconds; 0 means at once, None and inf mean no limit."""

    def body(stage: Stage) -> None:
        with queue_of(Sink(stage, 10), NaturalPolicy(), max_queue_size=1) as queue:
            queue.enqueue(1)
            stage.sleep(1)
            receipt = queue.submit(2, timeout=0)
            for call in (queue.enqueue, queue.submit, queue.deliver):
                for timeout in (0, 2.5):
                    began = stage.now
                    with pytest.raises(TimeoutError, match="no room: 1 items wait"):
                        call(3, timeout=timeout)
                    assert began + timeout == stage.now
            with pytest.raises(TimeoutError, match="the flush continues"):
                queue.flush(0.25)
            with pytest.raises(TimeoutError, match="timed out waiting for 2"):
                receipt.result(0.25)
            assert (False, "<Receipt of 2, not ended>") == (receipt.done(), repr(receipt))
            receipt.result(float("inf"))
            receipt.result(0)
            assert (True, "<Receipt of 2, ended>") == (receipt.done(), repr(receipt))
            with pytest.raises(TimeoutError, match="timed out waiting for 'late'"):
                queue.deliver("late", 4)
            assert queue.pending + queue.stats().in_flight == 1
        assert queue.stats().delivered == 3

    play(body)


@pytest.mark.parametrize("timeout", [-1, float("nan"), "1", True])
def test_bad_timeouts(timeout: Any) -> None:
    """T2: a negative timeout or NaN raises ValueError, a value that is no number TypeError."""
    queue = queue_of(Sink())
    receipt = queue.submit(0)
    kind = TypeError if isinstance(timeout, str | bool) else ValueError
    for call in (queue.enqueue, queue.submit, queue.deliver):
        with pytest.raises(kind, match="timeout"):
            call(1, timeout=timeout)
    for ask in (queue.flush, receipt.result):
        with pytest.raises(kind, match="timeout"):
            ask(timeout=timeout)
    queue.close()
    assert 1 == queue.stats().accepted


def test_many_seeds_of_producers_of_all_kinds() -> None:
    """The accepted items are delivered, also with keys, weights and producers that time out."""

    def body(stage: Stage) -> None:
        sink, accepted = Sink(stage, 0.5), list[Any]()
        options: dict[str, Any] = {"dedupe_key": str, "weigh": lambda _: 1, "max_in_flight": 2}
        with queue_of(sink, NaturalPolicy(2), max_queue_size=2, **options) as queue:
            items = [(n, i) for n in range(3) for i in range(3)]
            tasks = [stage.spawn(partial(put, queue, item, accepted, item[0])) for item in items]
            for task in tasks:
                task.join()
        assert sorted(accepted) == sorted(sink.items)

    for seed in range(30):
        play(body, seed)
    for seed in range(10):
        play(body, seed, preempt=0.03)


def test_the_default_policy_of_the_tests_never_flushes() -> None:
    """With NEVER, an item waits until flush() is called."""

    def body(stage: Stage) -> None:
        sink = Sink()
        with queue_of(sink, NEVER) as queue:
            queue.enqueue(1)
            stage.sleep(1e9)
            assert [] == sink.items
            queue.flush()
            assert [1] == sink.items

    play(body)
