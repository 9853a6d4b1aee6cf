"""S1 and S2 in threads: leaving a block while the source is read, interrupts, threads, contexts.

The behaviour of both drivers is tested in ``tests/contract/test_s01_reading.py`` and test_s02.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from math import inf

import attrs
import pytest

from flushq import NaturalPolicy
from flushq.threads import batches
from tests.threads.stage import Stage, play
from tests.threads.support import Interrupt, at_every_step_on_stage, interrupt


@attrs.define(eq=False)
class Numbers:
    """A source of numbers from 0 on.

    Attributes:
        stage: The stage on which it runs.
        count: The number of numbers that it yields.
        seconds: The time that it takes for each number, in seconds.
        read: The numbers that it has yielded.
        closed: Whether it was closed, or has ended.
    """

    stage: Stage
    count: int
    seconds: float = 0.0
    read: list[int] = attrs.field(factory=list, init=False)
    closed: bool = attrs.field(default=False, init=False)

    def __iter__(self) -> Iterator[int]:
        """Yield the numbers."""
        try:
            for number in range(self.count):
                if self.seconds:
                    self.stage.sleep(self.seconds)
                self.read.append(number)
                yield number
        finally:
            self.closed = True


def error_of(call: Callable[[], object]) -> BaseException | None:
    """Return the exception that a call raises, or None if it returns."""
    try:
        call()
    except BaseException as error:
        return error
    return None


def test_leaving_waits_for_the_source() -> None:
    """Leaving waits until the source yields, as no thread can be cancelled; its item is listed."""

    def body(stage: Stage) -> None:
        source, began = Numbers(stage, 5, 10.0), stage.now
        with batches(source, NaturalPolicy(1)) as stream:
            assert [0] == next(stream)
            stage.sleep(15.0)
        assert began + 30.0 == stage.now
        assert ([0], [1, 2]) == (stream.in_doubt, stream.undelivered)
        assert source.closed
        assert all(task.is_over for task in stage.tasks[1:])

    for seed in range(6):
        play(body, seed)


def test_an_interrupt_ends_the_waiting_for_the_source() -> None:
    """An interrupt leaves the block at once; the lists are complete when the reader has ended."""

    def body(stage: Stage) -> None:
        def press() -> None:
            stage.sleep(15.0)
            main.interrupt = Interrupt()

        main, source, began = stage.tasks[0], Numbers(stage, 5, 10.0), stage.now
        stage.spawn(press)
        with pytest.raises(Interrupt), batches(source, NaturalPolicy(1)) as stream:
            assert [0] == next(stream)
        assert began + 15.0 == stage.now
        assert ([0], []) == (stream.in_doubt, stream.undelivered)
        stage.sleep(10.0)
        assert ([0], [1]) == (stream.in_doubt, stream.undelivered)
        assert source.closed

    for seed in range(6):
        play(body, seed)


def test_an_interrupt_while_the_queue_ends_is_raised_after_the_end() -> None:
    """An interrupt while on_report runs is raised after the stream has been left completely."""

    def body(stage: Stage) -> None:
        def press() -> None:
            stage.sleep(5.0)
            main.interrupt = Interrupt()

        def take_long(_: object) -> None:
            stage.sleep(10.0)

        main, source, began = stage.tasks[0], Numbers(stage, 5), stage.now
        stage.spawn(press)
        stream = batches(source, NaturalPolicy(1), max_queue_size=1, on_report=take_long)
        with pytest.raises(Interrupt), stream:
            assert [0] == next(stream)
        assert began + 10.0 == stage.now
        assert ([0], [1, 2]) == (stream.in_doubt, stream.undelivered)
        assert source.closed

    play(body)


class Ones:
    """An iterator over ``count`` ones, whose ``close`` raises."""

    def __init__(self, count: float) -> None:
        self.count = count
        self.closed = 0

    def __iter__(self) -> Iterator[int]:
        """Return the iterator itself."""
        return self

    def __next__(self) -> int:
        """Return 1, or raise StopIteration after the last time."""
        if not self.count:
            raise StopIteration
        self.count -= 1
        return 1

    def close(self) -> None:
        """Count the call, and raise an error."""
        self.closed += 1
        raise OSError("cannot be closed")


def test_what_closing_raises(caplog: pytest.LogCaptureFixture) -> None:
    """The block raises the error of closing, or logs it if it raises another error already."""

    def body(_: Stage) -> None:
        with pytest.raises(OSError, match="cannot be closed"), batches(Ones(inf), NaturalPolicy()):
            pass
        with (
            pytest.raises(ZeroDivisionError),
            batches(Ones(inf), NaturalPolicy(), name="orders") as stream,
        ):
            assert next(stream)
            raise ZeroDivisionError

    play(body)
    assert ["orders: the source raised an exception while it was being stopped"] == caplog.messages


def test_a_source_that_is_not_closed() -> None:
    """A source is not closed if it has ended, or has no ``close``."""

    def body(_: Stage) -> None:
        source = Ones(3)
        with batches(source, NaturalPolicy(3)) as stream:
            assert [1, 1, 1] == [one for batch in stream for one in batch]
        assert 0 == source.closed
        with batches(iter(range(10**9)), NaturalPolicy(), max_queue_size=1) as stream:
            next(stream)
        assert [0] == stream.in_doubt

    play(body)


def test_on_report_may_not_ask() -> None:
    """on_report may not ask for a batch: it would wait for the thread that calls it."""

    def body(stage: Stage) -> None:
        errors: list[BaseException | None] = []

        def ask(_: object) -> None:
            errors.append(error_of(lambda: next(stream)))

        with batches(Numbers(stage, 2), NaturalPolicy(1), on_report=ask) as stream:
            assert [[0], [1]] == list(stream)
        assert [RuntimeError] * 2 == list(map(type, errors))
        assert "asking for a batch in a thread of the same queue" in str(errors[0])

    play(body)


CONTEXT: ContextVar[str] = ContextVar("CONTEXT")


def test_the_source_runs_in_the_context_of_the_block() -> None:
    """The source runs in the context of the block, in a thread that is named after the stream."""

    def body(stage: Stage) -> None:
        def source() -> Iterator[str]:
            yield CONTEXT.get()

        CONTEXT.set("of the block")
        with batches(source(), NaturalPolicy(), name="orders") as stream:
            assert [["of the block"]] == list(stream)
        assert "flushq 'orders' reader" in [task.name for task in stage.tasks]

    play(body)


def test_an_interrupt_at_any_step_of_an_ask() -> None:
    """After an interrupt, each item was delivered or is in one list, once."""

    def body(stage: Stage, make: Callable[[Callable[[], object]], None]) -> None:
        yielded: list[int] = []
        source = Numbers(stage, 6)
        with suppress(Interrupt), batches(source, NaturalPolicy(2), max_queue_size=2) as stream:
            yielded += next(stream)
            make(lambda: yielded.extend(next(stream)))
        left = stream.in_doubt + stream.undelivered
        delivered = len(source.read) - len(left)
        assert source.read == yielded[:delivered] + left
        assert set() == {*yielded} & {*stream.undelivered}
        assert all(task.is_over for task in stage.tasks[1:])

    at_every_step_on_stage(interrupt, body)


def test_an_interrupt_at_any_step_of_leaving() -> None:
    """After an interrupt, leaving again completes the lists, and no thread is left."""

    def body(stage: Stage, make: Callable[[Callable[[], object]], None]) -> None:
        source = Numbers(stage, 6)
        stream = batches(source, NaturalPolicy(2), max_queue_size=2)
        stream.__enter__()
        batch = next(stream)
        with suppress(Interrupt):
            make(lambda: stream.__exit__(None, None, None))
        stream.__exit__(None, None, None)
        assert batch == stream.in_doubt
        assert source.read == batch + stream.undelivered
        assert all(task.is_over for task in stage.tasks[1:])

    at_every_step_on_stage(interrupt, body)


@pytest.mark.parametrize(
    "seeds", [range(20), pytest.param(range(20, 200), marks=pytest.mark.long)], ids=["few", "many"]
)
def test_threads_that_lose_their_turn_anywhere(seeds: range) -> None:
    """Each item is yielded once, in order, or is listed."""

    def body(stage: Stage) -> None:
        source = Numbers(stage, 12)
        yielded: list[int] = []
        with batches(source, NaturalPolicy(2), max_queue_size=3) as stream:
            for batch in stream:
                yielded += batch
                if len(yielded) >= leaves_at:
                    break
        assert source.read == yielded + stream.undelivered
        assert stream.in_doubt == (batch if len(yielded) >= leaves_at else [])

    for seed in seeds:
        leaves_at = seed % 16
        play(body, seed, preempt=0.02)
