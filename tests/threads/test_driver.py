"""The driver for threads if a thread cannot be started, is interrupted, or is not needed."""

import copy
import gc
import logging
import pickle
import sys
from functools import partial
from types import SimpleNamespace
from typing import Any
from weakref import WeakValueDictionary

import pytest

import flushq.threads
from flushq import (
    FlushFailed,
    IntervalPolicy,
    NaturalPolicy,
    QueueClosed,
    Retry,
    ShutdownTimeout,
)
from flushq.threads import Batched, process
from flushq.threads.entry import Entry
from flushq.threads.primitives import Waiter
from flushq.threads.runner import Runner
from tests.threads.stage import Stage, all_orders, play
from tests.threads.support import Interrupt, Sink, at_every_step, interrupt, queue_of


def test_where_no_thread_can_be_started_the_closer_does_all() -> None:
    """flush_fn runs in the thread that calls close(), one flush after the other."""

    def body(stage: Stage) -> None:
        stage.can_start = False
        sink = Sink(stage, 1)
        with queue_of(sink, NaturalPolicy(2), max_in_flight=2) as queue:
            for item in range(3):
                queue.enqueue(item)
            assert (3, []) == (queue.pending, sink.items)
        assert [[0, 1], [2]] == sink.batches
        assert 1 == len(stage.tasks)

    for seed in range(5):
        play(body, seed)


def test_where_no_thread_can_be_started_the_closer_waits_for_retries() -> None:
    """The closing thread makes the passes for a retry, and other flushes during its pause."""

    def body(stage: Stage) -> None:
        stage.can_start = False
        calls: list[tuple[float, list[int]]] = []

        def sink(batch: list[int]) -> None:
            calls.append((stage.now - began, batch))
            if len(calls) == 1:
                raise OSError

        options: dict[str, Any] = {"max_in_flight": 2, "on_failure": lambda _: Retry(3)}
        began = stage.now
        with queue_of(sink, NaturalPolicy(1), **options) as queue:
            for item in range(3):
                queue.enqueue(item)
        assert [(0, [0]), (0, [1]), (0, [2]), (3, [0])] == calls

    for seed in range(5):
        play(body, seed)


def test_where_no_thread_can_be_started_callers_that_wait_do_all() -> None:
    """A caller that waits runs the queue until its own call has ended or timed out."""

    def body(stage: Stage) -> None:
        stage.can_start = False
        sink = Sink(stage, 1)
        with queue_of(sink, IntervalPolicy(10.0), max_queue_size=2) as queue:
            began = stage.now
            for item in range(4):
                queue.enqueue(item)
            assert (2, began + 1) == (queue.pending, stage.now)
            queue.flush()
            assert began + 2 == stage.now
            receipt = queue.submit(4)
            with pytest.raises(TimeoutError):
                receipt.result(3)
            assert began + 5 == stage.now
            receipt.result()
            assert began + 13 == stage.now
            queue.deliver(5)
            assert began + 24 == stage.now
        assert [0, 1, 2, 3, 4, 5] == sink.items

    play(body)


def test_a_caller_that_waits_while_the_queue_is_being_started() -> None:
    """A caller does not act as the keeper then: at its return the other callers would wait."""

    def body(stage: Stage) -> None:
        queue = queue_of(Sink(stage, 1), NaturalPolicy(1))
        receipts = [queue.submit(item) for item in range(2)]
        stage.spawn(queue.start)
        for receipt in receipts:
            stage.spawn(receipt.result)
        stage.sleep(5)
        assert [True, True] == [receipt.done() for receipt in receipts]
        queue.deliver(2)
        assert "flushq" in [task.name for task in stage.tasks]
        queue.close()

    for seed in range(60):
        play(body, seed)


def test_where_no_worker_can_be_started_the_keeper_flushes() -> None:
    """The keeper flushes, and retries to start a worker, until that is possible."""

    def body(stage: Stage) -> None:
        with queue_of(Sink(), NaturalPolicy(1)) as queue:
            stage.can_start = False
            queue.enqueue(1)
            stage.sleep(1)
            assert (1, 1) == (queue.pending, len(stage.tasks))
            stage.can_start = True
            queue.deliver(2)
            assert 2 == queue.stats().delivered
            assert 3 == len(stage.tasks)

    play(body)


def test_where_one_worker_has_been_started_the_keeper_helps() -> None:
    """The worker and the keeper run max_in_flight flushes, whichever of the two starts them."""

    def body(stage: Stage) -> None:
        sink = Sink(stage, 1)
        with queue_of(sink, NaturalPolicy(1), max_in_flight=2) as queue:
            queue.deliver(0)
            stage.can_start = False
            began = stage.now
            for item in range(1, 9):
                queue.enqueue(item)
        assert (began + 4, 9) == (stage.now, len(sink.items))

    for seed in range(20):
        play(body, seed)


def test_a_close_while_the_start_of_a_worker_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A close times out correctly if a new worker ends before its start returns."""

    def body(stage: Stage) -> None:
        def sink(batch: list[int]) -> None:
            if batch == [0]:
                queue.enqueue(1)
                queue.enqueue(2)
                monkeypatch.setattr(flushq.threads.primitives, "start_thread", start_slowly)

        def start_slowly(*args: Any) -> Any:
            thread = stage.start_thread(*args)
            stage.sleep(5)
            return thread

        queue = queue_of(sink, NaturalPolicy(1), max_in_flight=2, max_shutdown_wait=1)
        queue.start()
        queue.enqueue(0)
        stage.sleep(2)
        monkeypatch.undo()
        with pytest.raises(ShutdownTimeout):
            queue.close()
        assert [1] == queue.undelivered

    play(body, next(all_orders(0)))


def test_a_close_between_a_pass_and_the_end_of_its_round() -> None:
    """A producer that got in the line after the pass is refused, too."""

    def body(stage: Stage) -> None:
        refused: list[str] = []

        def enqueue_late() -> None:
            with pytest.raises(QueueClosed):
                queue.enqueue("late")
            refused.append("late")

        def report(_: Any) -> None:
            stage.spawn(enqueue_late)
            stage.sleep(1)
            stage.spawn(queue.close)
            stage.sleep(1)

        queue = queue_of(Sink(), max_queue_size=1, on_report=report)
        queue.start()
        queue.enqueue("item")
        given_room = queue._core.admission.waitlist  # noqa: SLF001 - no public call can do this
        queue._entrance.locked(given_room.join, Waiter(), None)  # noqa: SLF001 - the same
        queue.flush()
        stage.sleep(5)
        assert (["late"], "closed") == (refused, queue.state)

    play(body)


def test_the_end_of_the_interpreter_does_not_wait_for_a_keeper_that_hangs() -> None:
    """At the limit the exit function closes the queue, although its keeper hangs."""

    def body(stage: Stage) -> None:
        with queue_of(Sink(stage, 100), NaturalPolicy(1)) as queue:
            queue.flush()
            queue.enqueue(0)
            stage.can_start = False
            queue.enqueue(1)
            began = stage.now
            end(queue)
            assert began + process.EXIT_SECONDS == stage.now
            assert "closed" == queue.state
            with pytest.raises(ShutdownTimeout, match=r"max_shutdown_wait=10\.0 s"):
                queue.close()
            raise Interrupt

    for seed in range(5):
        with pytest.raises(Interrupt):
            play(body, seed)


def fails_to_close(queue: Any) -> None:
    """Close a queue, which must raise ShutdownTimeout."""
    with pytest.raises(ShutdownTimeout):
        queue.close()


def end(queue: Any) -> None:
    """Do the same as the exit function at the end of the interpreter."""
    runner = queue._runner  # noqa: SLF001 - as the exit function does
    assert runner.is_open
    runner.end_with_interpreter(process.EXIT_SECONDS)
    assert not runner.is_open


def test_the_end_of_the_interpreter_may_be_interrupted(caplog: pytest.LogCaptureFixture) -> None:
    """If the exit function is interrupted, it logs the items left, and raises the interrupt."""

    def body(stage: Stage) -> None:
        queue = queue_of(Sink(stage, 100))
        queue.start()
        queue.enqueue(1)
        main = stage.tasks[0]

        def press() -> None:
            stage.sleep(3)
            main.interrupt = Interrupt()

        stage.spawn(press)
        with pytest.raises(Interrupt):
            end(queue)
        assert ([1], "closed") == (queue.in_doubt, queue.state)

    play(body)
    assert [logging.ERROR] == [record.levelno for record in caplog.records]


def test_an_interrupt_at_the_end_of_the_interpreter_concerns_one_queue(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An interrupt ends the drain of one queue; the others are drained at the same time."""

    def body(stage: Stage) -> None:
        monkeypatch.setattr(process, "_runners", WeakValueDictionary())
        queues = [queue_of(Sink(stage, 5)) for _ in range(3)]
        for queue in queues:
            queue.enqueue(1)
        main, began = stage.tasks[0], stage.now

        def press() -> None:
            stage.sleep(3)
            main.interrupt = Interrupt()

        stage.spawn(press)
        with pytest.raises(Interrupt):
            process.drain()
        assert began + 5 == stage.now
        assert [0, 1, 1] == sorted(queue.stats().delivered for queue in queues)

    play(body)
    assert [logging.ERROR] == [record.levelno for record in caplog.records]


def test_a_close_without_limit_gets_one_at_the_end_of_the_interpreter() -> None:
    """A close that runs at the end of the interpreter gets a limit, unless it has one."""

    def body(stage: Stage) -> None:
        for limit, expected in ((None, process.EXIT_SECONDS), (50, 49)):
            queue = queue_of(Sink(stage, 1000), max_shutdown_wait=limit)
            queue.enqueue(1)
            closer = stage.spawn(partial(fails_to_close, queue))
            stage.sleep(1)
            began = stage.now
            end(queue)
            closer.join()
            assert began + expected == stage.now

    play(body)


@pytest.mark.parametrize("has_begun", [True, False])
def test_an_interrupt_while_the_keeper_is_started(
    monkeypatch: pytest.MonkeyPatch, *, has_begun: bool
) -> None:
    """After an interrupt, a thread that has begun is the keeper; else a new one is started."""

    def body(stage: Stage) -> None:
        sink = Sink()
        start = flushq.threads.primitives.start_thread

        def start_and_interrupt(*args: Any) -> None:
            start(*args)
            if has_begun:
                stage.sleep(1)
            interrupt()

        queue = queue_of(sink)
        queue.start()
        with monkeypatch.context() as patch:
            patch.setattr(flushq.threads.primitives, "start_thread", start_and_interrupt)
            with pytest.raises(Interrupt):
                queue.enqueue(1)
        queue.enqueue(2)
        queue.close()
        assert [2] == sink.items
        assert all(task.is_over for task in stage.tasks[1:])

    for seed in range(5):
        play(body, seed)


def test_a_pass_that_raises_ends_the_keeper_not_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in flushq is raised in the keeper's thread; the next call starts a new keeper."""

    def body(stage: Stage) -> None:
        queue = queue_of(Sink())
        queue.start()
        core = queue._core  # noqa: SLF001 - the test breaks it
        with monkeypatch.context() as patch:
            patch.setattr(core, "observe", interrupt)
            queue.enqueue(1)
            stage.sleep(1)
        for keeper in stage.tasks[1:]:
            assert isinstance(keeper.error, Interrupt)
            keeper.error = None
        queue.close()
        assert 1 == queue.stats().delivered

    play(body)


def test_a_queue_that_was_never_started_and_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """A warning says how many items the queue had; the exit function has nothing to do."""
    queue = queue_of(Sink(), name="rows")
    runner = queue._runner  # noqa: SLF001 - it outlives the queue
    assert not runner.is_open
    queue.enqueue(1)
    assert runner.is_open
    with pytest.warns(ResourceWarning, match="'rows' was garbage-collected with 1 item in it"):
        del queue
    assert not runner.is_open
    assert ["ERROR"] == [record.levelname for record in caplog.records]


def test_a_queue_that_is_dropped_may_lose_items(caplog: pytest.LogCaptureFixture) -> None:
    """The items that a dropped queue loses are logged, as no caller gets an error."""

    def body(stage: Stage) -> None:
        queue = queue_of(Sink(stage, 100), max_shutdown_wait=1)
        queue.start()
        queue.enqueue(1)
        del queue
        stage.sleep(200)
        assert all(task.is_over for task in stage.tasks[1:])

    play(body)
    assert ["an open queue was garbage-collected"] == [
        record.getMessage().partition(":")[0] for record in caplog.records
    ]


def test_a_batched_that_is_dropped_ends() -> None:
    """The threads of a dropped Batched end: they refer to the loader, but not to the Batched."""

    def body(stage: Stage) -> None:
        batched: Batched[int, int] = Batched(lambda keys: keys, NaturalPolicy())
        assert 1 == batched.__enter__()(1)
        del batched
        stage.sleep(1)
        assert all(task.is_over for task in stage.tasks[1:])

    play(body)


@pytest.mark.parametrize("copying", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_queue_is_not_copied(copying: Any) -> None:
    """A copy of a queue raises TypeError, and the queue is unchanged."""
    queue = queue_of(Sink())
    with pytest.raises(TypeError, match="cannot be copied or pickled"):
        copying(queue)
    assert "new" == queue.state


def test_what_cannot_be_made_is_not_dropped() -> None:
    """If the constructor raises, the half-made object raises nothing when it is deleted."""
    with pytest.raises(TypeError):
        queue_of(Sink(), "no policy")  # type: ignore[arg-type]  # wrong on purpose
    gc.collect()


def test_nothing_is_registered_for_a_queue_that_is_gone() -> None:
    """A queue that is gone is registered neither for a fork nor for the end of the interpreter."""
    gc.collect()
    before = len(process._renewals), len(process._runners)  # noqa: SLF001 - the registered queues
    queue = queue_of(Sink())
    queue.close()
    del queue
    gc.collect()
    assert before == (len(process._renewals), len(process._runners))  # noqa: SLF001 - the same


def test_what_is_called_after_the_queue_has_ended() -> None:
    """A close of a closed queue returns at once, and so does the flush of an empty queue."""

    def body(stage: Stage) -> None:
        queue = queue_of(Sink())
        queue.start()
        queue.flush()
        receipt = queue.submit(1)
        for _ in range(2):
            queue.close()
        receipt.result(0)
        assert 1 == queue.stats().delivered

    play(body)


def test_a_child_of_multiprocessing_has_its_end_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child of multiprocessing drains its queues, although it may end without atexit."""
    finalizers: list[Any] = []
    fake = SimpleNamespace(
        parent_process=lambda: "a parent", Finalize=lambda *args, **_: finalizers.append(args)
    )
    for name in ("multiprocessing.process", "multiprocessing.util"):
        monkeypatch.setitem(sys.modules, name, fake)
    monkeypatch.setattr(process, "_will_drain", False)
    for _ in range(2):
        process.ensure_drain_at_end()
    assert [(None, process.drain)] == finalizers


def test_the_threads_of_an_orphaned_queue_do_nothing() -> None:
    """After a fork, the keeper and the workers of the parent's queue do nothing in the child."""

    def body(stage: Stage, *, has_worker: bool) -> None:
        def sink(_: list[int]) -> None:
            runner.stop_in_child()
            raise OSError

        def judge(_: Any) -> Any:
            raise AssertionError

        queue = queue_of(sink, NaturalPolicy(1), on_failure=judge)
        runner = queue._runner  # noqa: SLF001 - as a fork does
        queue.start()
        queue.flush()
        queue.enqueue(1)
        stage.can_start = has_worker
        queue.enqueue(2)
        stage.sleep(1)
        assert (0, 1, True) == (queue.stats().in_doubt, queue.pending, runner.belongs_to_parent())
        with pytest.raises(RuntimeError, match="belongs to the parent of this process"):
            queue.submit(3).result()
        stage.sleep(1)
        assert all(task.is_over for task in stage.tasks[1:])
        with pytest.warns(ResourceWarning, match="3 items"):
            del queue

    for has_worker in (True, False):
        play(partial(body, has_worker=has_worker), next(all_orders(0)))


def test_a_flush_that_has_not_begun_when_the_queue_ends() -> None:
    """If a queue ends before a flush begins, by a failure or a limit, its items are undelivered."""
    ends: set[tuple[int, int]] = set()

    def body(stage: Stage, limit: float | None) -> None:
        def sink(batch: list[int]) -> None:
            if limit is None:
                raise OSError
            stage.sleep(10)

        queue = queue_of(sink, NaturalPolicy(1), max_in_flight=2, max_shutdown_wait=limit)
        queue.enqueue(1)
        queue.enqueue(2)
        queue.start()
        stage.pause()
        with pytest.raises((FlushFailed, ShutdownTimeout)):
            queue.close()
        assert [1, 2] == sorted([*queue.in_doubt, *queue.undelivered])
        ends.add((len(queue.in_doubt), len(queue.undelivered)))

    for limit in (None, 0):
        for seed in range(60):
            play(partial(body, limit=limit), seed)
        assert (1, 1) in ends
        ends.clear()


def test_an_item_that_ends_while_its_receipt_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller does not wait if the receipt has been settled already."""

    def body(stage: Stage) -> None:
        with queue_of(Sink(), IntervalPolicy(1.0)) as queue:
            receipt = queue.submit(1)
            monkeypatch.setattr(Runner, "check_not_inside", lambda *_: stage.sleep(5))
            receipt.result()
            monkeypatch.undo()

    play(body)


def test_an_interrupt_while_a_producer_waits_for_the_lock() -> None:
    """The interrupt is raised, the item is not accepted, and the lock is free afterwards."""

    def body(stage: Stage) -> None:
        queue = queue_of(Sink())
        main = stage.tasks[0]

        def hold() -> None:
            stage.sleep(1)
            main.interrupt = Interrupt()
            stage.sleep(1)

        stage.spawn(lambda: queue._entrance.locked(hold))  # noqa: SLF001 - a step that takes long
        stage.pause()
        while queue._entrance._is_in_step is False:  # noqa: SLF001 - the step has begun
            stage.pause()
        with pytest.raises(Interrupt):
            queue._entrance._let_in(entry_of_one())  # noqa: SLF001 - the lock is held
        queue.enqueue(2)
        queue.close()
        assert 1 == queue.stats().delivered

    play(body)


def entry_of_one() -> Entry[int]:
    """Return the request of a producer to let its item in."""
    return Entry(1, None, 0, None, waits=True, until=1e9, make_result=None, on_accepted=None)


def test_on_accepted_at_any_step_of_a_finalizer() -> None:
    """on_accepted is called once, before the delivery; its exception refuses the item."""

    def play_once(make: Any) -> None:
        queue, enqueued, accepted = queue_of(Sink(), max_queue_size=9), list[str](), list[str]()

        def finalize() -> None:
            queue.enqueue_nowait("finalized")
            enqueued.append("finalized")

        def on_accepted(item: str) -> None:
            accepted.append(item)
            raise OSError

        finalizers[0] = finalize

        def deliver() -> None:
            with pytest.raises(OSError, match=r"^$"):
                queue.deliver("item", on_accepted=on_accepted)

        make(deliver)
        assert (["item"], len(enqueued)) == (accepted, queue.pending)
        queue.close()

    finalizers: list[Any] = [None]
    assert at_every_step(lambda: finalizers[0](), play_once) > 5  # noqa: PLW0108 - it changes


def test_on_accepted_may_use_the_queue() -> None:
    """on_accepted is called with the lock held, and may call enqueue_nowait."""

    def body(stage: Stage) -> None:
        def on_accepted(item: str) -> None:
            queue.enqueue_nowait(f"{item}'s")
            if item == "refused":
                raise OSError

        sink = Sink()
        with queue_of(sink, IntervalPolicy(1.0)) as queue:
            with pytest.raises(OSError, match=r"^$"):
                queue.deliver("refused", on_accepted=on_accepted)
            queue.deliver("item", on_accepted=on_accepted)
        assert ["refused's", "item's", "item"] == sink.items

    play(body)


def test_a_request_whose_callers_have_all_given_up() -> None:
    """The loader is not called with a key whose callers have all timed out."""

    def body(stage: Stage) -> None:
        calls: list[list[str]] = []

        def load(keys: list[str]) -> list[str]:
            calls.append(keys)
            return keys

        with Batched(load, IntervalPolicy(5.0), weigh=len) as load_one:
            for key in ("a", "b"):
                with pytest.raises(TimeoutError):
                    load_one(key, timeout=1)
            stage.sleep(9)
            assert ("a", [["a"]]) == (load_one("a", 6), calls)

    play(body)


def test_the_end_of_the_interpreter_is_silent_if_nothing_is_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No record is logged at the end of the interpreter if the queue was drained."""

    def body(_: Stage) -> None:
        queue = queue_of(sink := Sink())
        queue.start()
        queue.enqueue(1)
        end(queue)
        assert [1] == sink.items

    play(body)
    assert [] == caplog.records
