"""The core: passes, barriers, refusals and the end, without a loop."""

import asyncio
import math
from typing import Any

import pytest

from flushq.core.batch import Batch
from flushq.core.core import Core
from flushq.errors import FlushFailed, PolicyError, QueueClosed, ShutdownTimeout
from flushq.policies import IntervalPolicy, NaturalPolicy
from tests.core.support import Caller, batch_of
from tests.strategies import Refusal


class Driver:
    """A driver that follows the core at once; a test ends the calls of flush_fn.

    Attributes:
        core: A core that has started.
        now: The time.
        running: The batches that flush_fn was called with.
    """

    def __init__(self, policy: Any = None, **options: Any) -> None:
        self.core: Core[int] = Core(policy or NaturalPolicy(), **options)
        self.core.ending.start()
        self.now = 0.0
        self.running: list[Batch[int]] = []

    def accept(self, *items: int) -> None:
        """Add items."""
        self.core.admission.open_burst(self.now)
        for item in items:
            self.core.buffer.append(item)

    def turn(self) -> bool:
        """Make a pass; return whether it was the last one."""
        self.core.observe()
        while (batch := self.core.start_next_flush(lambda: self.now)) is not None:
            batch.call(batch.items)
            self.running.append(batch)
        self.core.respond()
        return self.core.ending.finish()

    def end(self, error: BaseException | None = None) -> bool:
        """End the oldest flush, and make a pass; return whether it was the last one."""
        batch = self.running.pop(0)
        if error is None:
            batch.returned()
        else:
            batch.end_after_failure(error, {}, {}, range(batch.count))
        self.core.note_flush_end(batch, self.now)
        return self.turn()

    def cut_short(self) -> None:
        """Stop taking batches, and interrupt those that run."""
        self.core.ending.stop("too late")
        for batch in self.running:
            batch.interrupt()


def running(count: int, **options: Any) -> Driver:
    """Return a driver with ``count`` running flushes of one item, 1, 2, …, and one more item."""
    driver = Driver(NaturalPolicy(1), max_in_flight=count, **options)
    driver.accept(*range(1, count + 2))
    driver.turn()
    return driver


# Passes.


@pytest.mark.parametrize("start", [0.0, -100.0])
def test_the_policy_is_asked_at_the_time_it_named(start: float) -> None:
    """A timer that fires too early causes no tick; the policy is asked at its own time."""
    driver = Driver(IntervalPolicy(5.0))
    driver.now = start
    driver.accept(1)
    driver.turn()
    for driver.now in (start + 4.0, start + 5.0):
        assert [] == driver.running
        driver.core.timer_fired = driver.now
        driver.turn()
    assert [[1]] == [batch.items for batch in driver.running]
    assert -math.inf == driver.core.timer_fired


@pytest.mark.parametrize("keeps_reports", [False, True])
def test_reports_are_kept_if_anybody_asks(*, keeps_reports: bool) -> None:
    """The core keeps the report of an ended flush if keeps_reports; the batch drops its items."""
    driver = running(1, keeps_reports=keeps_reports)
    batch = driver.running[0]
    driver.end()
    assert [1] * keeps_reports == [report.delivered for report in driver.core.reports]
    assert [] == batch.items


def test_credit_is_gone_once_the_queue_ends() -> None:
    """A pass that is told of a failure revokes the credit, and so does a close."""
    driver = running(1)
    credit, _ = driver.core.admission.grant_credit()
    driver.end(Refusal("lost"))
    assert [] == list(credit)
    driver = Driver()
    credit, _ = driver.core.admission.grant_credit()
    driver.core.close()
    assert [] == list(credit)


# Refusals.


def test_a_start_comes_once_and_before_the_end() -> None:
    """A second start is refused, and so is a start after a close."""
    driver = Driver()
    with pytest.raises(RuntimeError, match="was started before"):
        driver.core.ending.start()
    driver.core.close()
    with pytest.raises(QueueClosed, match="cannot be started any more"):
        driver.core.ending.start()


def test_a_queue_that_closes_takes_items_of_running_flushes_alone() -> None:
    """A closing queue takes only items of running flushes, and no items once it has stopped."""
    driver = running(1)
    batch = driver.running[0]
    driver.core.ending.check_open(None)
    driver.core.close()
    driver.core.ending.check_open(batch)
    for inside in (None, batch_of(1)):
        with pytest.raises(QueueClosed, match="1 pending, 1 in flight> accepts no more items"):
            driver.core.ending.check_open(inside)
    driver.cut_short()
    with pytest.raises(QueueClosed):
        driver.core.ending.check_open(batch)


def test_what_would_wait_for_its_own_flush_is_refused() -> None:
    """A call that would wait for its own flush is a RuntimeError, but only inside a flush."""
    driver = running(1, name="users")
    driver.core.check_not_inside(None, "flush()")
    with pytest.raises(RuntimeError, match=r"^users: flush\(\) inside flush_fn of the same queue"):
        driver.core.check_not_inside(driver.running[0], "flush()")


# Barriers.


def test_a_barrier_is_answered_when_all_below_it_has_ended() -> None:
    """A barrier is answered when all items before it have ended; without items there is none."""
    driver = Driver(IntervalPolicy(5.0))
    assert driver.core.barriers.set_barrier() is None
    driver.accept(1, 2)
    mark = driver.core.barriers.set_barrier()
    assert mark is not None
    waiting, left = Caller(), Caller()
    driver.core.barriers.join(waiting, mark)
    driver.core.barriers.join(left, mark)
    driver.core.barriers.leave(left)
    driver.turn()
    assert not waiting.done()
    driver.end()
    assert [True, False] == [waiting.done(), left.done()]
    driver.core.ending.check_delivered(mark)


# The end.


def test_how_far_a_queue_has_come() -> None:
    """The state of a queue is new, running, closing, closed or failed."""
    core = Core[int](NaturalPolicy())
    states = [core.ending.state]
    driver = running(1)
    states.append(driver.core.ending.state)
    driver.core.close()
    states.append(driver.core.ending.state)
    assert [False, True] == [driver.end(), driver.end()]
    states.append(driver.core.ending.state)
    driver = running(1)
    assert driver.end(Refusal("lost"))
    states.append(driver.core.ending.state)
    assert ["new", "running", "closing", "closed", "failed"] == states


def test_an_owner_that_waits_decides_when_the_end_comes_sooner() -> None:
    """Only an owner may hasten the end if an owner waits; otherwise every caller may."""
    driver = Driver()
    assert driver.core.ending.cancellation_ends_queue(is_owner=False)
    driver.core.ending.join(Caller(), True)
    driver.core.ending.join(Caller(), False)
    assert [False, True] == [
        driver.core.ending.cancellation_ends_queue(is_owner=owner) for owner in (False, True)
    ]


def test_all_who_wait_for_the_end_are_told_when_it_comes() -> None:
    """Callers that wait for the end are answered when the queue is closed and empty."""
    driver, waiting, left = Driver(), Caller(), Caller()
    for caller in (waiting, left):
        driver.core.ending.join(caller, False)
    driver.core.ending.leave(left)
    driver.turn()
    assert not waiting.done()
    driver.core.close()
    driver.turn()
    assert [True, False] == [waiting.done(), left.done()]


@pytest.mark.parametrize(
    ("limit", "options", "deadline", "shown"),
    [
        (None, {}, math.inf, "None"),
        (None, {"default_wait": 10.0}, 12.0, "10.0"),
        (3, {"default_wait": 10.0}, 5.0, "3"),
        (0, {}, 2.0, "0"),
    ],
)
def test_the_end_has_a_deadline(
    limit: int | None, options: dict[str, float], deadline: float, shown: str
) -> None:
    """The deadline is max_shutdown_wait after the close; after it no batch is taken."""
    driver = running(1, max_shutdown_wait=limit)
    deadlines = [
        driver.core.ending.deadline,
        driver.core.ending.set_deadline(2.0, **options),
        driver.core.ending.deadline,
    ]
    assert [None, deadline, deadline] == deadlines
    driver.core.ending.stop_at_deadline()
    driver.end()
    message = f"closing took longer than max_shutdown_wait={shown} s (1 undelivered, 0 in doubt)"
    assert message == str(driver.core.ending.outcome())


def test_a_stop_that_loses_nothing_is_not_a_timeout() -> None:
    """A stop without losses has no outcome; a loss stays one, even if the list is emptied."""
    driver = Driver()
    driver.accept(1)
    driver.turn()
    driver.cut_short()
    driver.end()
    assert driver.core.ending.outcome() is None
    driver.accept(2)
    driver.turn()
    driver.core.batcher.losses.undelivered.items.clear()
    assert ShutdownTimeout is type(driver.core.ending.outcome())


def test_what_a_flush_that_was_cut_short_raised_is_the_cause() -> None:
    """The outcome of a stop is a ShutdownTimeout with the label and the flush's error as cause."""
    driver, error = running(1, name="users"), asyncio.CancelledError()
    driver.cut_short()
    driver.end(error)
    outcome = driver.core.ending.outcome()
    assert "users: too late (1 undelivered, 1 in doubt)" == str(outcome)
    assert (ShutdownTimeout, error) == (type(outcome), outcome and outcome.__cause__)


def test_each_gets_an_exception_of_its_own() -> None:
    """Each outcome is a new object, with the lists of the queue."""
    driver = running(1)
    driver.end(Refusal("lost"))
    one, other = driver.core.ending.outcome(), driver.core.ending.outcome()
    assert one is not None
    assert one is not other
    losses = driver.core.batcher.losses
    assert (losses.undelivered.items, losses.in_doubt.items) == (one.undelivered, one.in_doubt)
    assert losses.undelivered.items is one.undelivered


def test_a_failure_is_taken_once() -> None:
    """``take_failure`` returns a failure once, so that a driver logs it once, and then None."""
    driver = running(2)
    taken = [driver.core.ending.take_failure()]
    driver.end(Refusal("lost"))
    taken += [driver.core.ending.take_failure() for _ in range(2)]
    assert [type(None), FlushFailed, type(None)] == [type(failure) for failure in taken]


def test_a_loss_always_tells_what_was_known_when_it_was_lost() -> None:
    """A later failure is the outcome of the queue, but not the cause of earlier losses."""
    driver = running(2)
    driver.core.ending.stop("too late")
    loss = driver.core.ending.loss_factory()
    driver.end(Refusal("lost"))
    assert [ShutdownTimeout, FlushFailed] == [type(loss()), type(driver.core.ending.outcome())]


def test_an_exception_that_carries_the_lists_is_known() -> None:
    """An exception with the lists is found in groups, too; that of another queue is not."""
    driver, other = running(1), running(1)
    for each in (driver, other):
        each.end(Refusal("lost"))
    own, foreign = driver.core.ending.outcome(), other.core.ending.outcome()
    assert own is not None
    assert foreign is not None
    group = ExceptionGroup("all", [Refusal(), ExceptionGroup("some", [foreign, own])])
    assert [True, True] == list(map(driver.core.ending.carries_loss, (own, group)))
    others = (foreign, Refusal(), ExceptionGroup("all", [foreign]))
    assert [False] * 3 == list(map(driver.core.ending.carries_loss, others))


def test_an_exit_of_the_policy_leaves_no_flush_unsettled() -> None:
    """If the policy raises an interrupt at the end of a flush, its receipts are settled first."""

    class Exits(NaturalPolicy):
        def flush_done(self, *_: Any) -> Any:
            raise KeyboardInterrupt

    driver, caller = Driver(Exits(), keeps_reports=True), Caller()
    driver.accept(1)
    driver.core.receipts.watch(0, caller)
    driver.turn()
    with pytest.raises(KeyboardInterrupt):
        driver.end()
    assert (None, 1) == (caller.result(), len(driver.core.reports))
    assert PolicyError is type(driver.core.ending.outcome())
