"""The start of calls of flush_fn, without a loop: the throttle, holds and the line."""

import math
from collections.abc import Iterable
from fractions import Fraction
from functools import partial
from typing import Any

import pytest

from flushq.core.attempts import Attempts, Call, Pause
from flushq.core.core import Core
from flushq.core.running_throttle import RunningThrottle
from flushq.errors import PolicyError, QueueFull
from flushq.outcomes import Retry, Split, Verdict
from flushq.policies import IntervalPolicy, NaturalPolicy
from flushq.throttles import CircuitBreaker, RateLimit, Throttle
from tests.core.support import Caller, batch_of
from tests.strategies import Refusal


class Noted(Throttle):
    """A throttle that notes its events and questions.

    Attributes:
        does: The exception that a method raises, or the answer of ready_at (default: now).
        told: The events that it was told of.
        asked: The times at which it was asked.
    """

    def __init__(self, **does: Any) -> None:
        self.does = does
        self.told: list[tuple[Any, ...]] = []
        self.asked: list[float] = []

    def __deepcopy__(self, _: object) -> "Noted":
        copy = Noted()
        copy.does, copy.told, copy.asked = self.does, self.told, self.asked
        return copy

    def call_started(self, now: float, count: int, weight: float = 0.0) -> None:
        """Note the start of a call."""
        self._note("call_started", now, count, weight)

    def call_done(
        self,
        now: float,
        count: int,
        seconds: float,
        weight: float = 0.0,
        error: BaseException | None = None,
    ) -> None:
        """Note the end of a call."""
        self._note("call_done", now, count, seconds, weight, type(error))

    def ready_at(self, now: float) -> float:
        """Note the time of the question, and answer."""
        self.asked.append(now)
        answer: Any = self.does.get("ready_at", now)
        if isinstance(answer, BaseException):
            raise answer
        return answer  # type: ignore[no-any-return]  # may be a wrong answer

    def _note(self, event: str, *facts: Any) -> None:
        self.told.append((event, *facts))
        if event in self.does:
            raise self.does[event]


class Place(Caller):
    """A place in the line of calls."""

    def __init__(self, attempts: Attempts[int], told: list["Place"]) -> None:
        super().__init__()
        self.attempts = attempts
        self._told = told

    def set_result(self, result: Any, /) -> None:
        """Note whether the call may start."""
        super().set_result(result)
        self._told.append(self)


class Driver:
    """A driver that follows the core at once; a test ends the calls of flush_fn.

    Attributes:
        core: A core that has started.
        now: The time.
        calls: The time and the items of each call.
        running: The calls that run, by their items.
    """

    def __init__(self, throttle: Throttle | None, policy: Any = None, **options: Any) -> None:
        options = {"max_in_flight": 9, "throttle": throttle} | options
        self.core: Core[int] = Core(policy or NaturalPolicy(1), **options)
        self.core.ending.start()
        self.now = 0.0
        self.calls: list[tuple[float, list[int]]] = []
        self.running: dict[tuple[int, ...], Any] = {}
        self._told: list[Place] = []

    def accept(self, *items: int) -> None:
        """Add items, and make a pass."""
        self.core.admission.open_burst(self.now)
        for item in items:
            self.core.buffer.append(item)
        self.turn()

    def turn(self) -> None:
        """Make a pass; flushes that are released from the line call flush_fn again."""
        self.core.observe()
        while (batch := self.core.start_next_flush(lambda: self.now)) is not None:
            self._go_on()
            if self.core.batcher.stopped is None:
                self._call(batch.call(batch.items), batch)
            else:
                batch.fail(Refusal("too late"))
                self.core.note_flush_end(batch, self.now)
        self._go_on()
        self.core.respond()

    def _go_on(self) -> None:
        for place in self._told:
            attempts = place.attempts
            self.core.starts.leave(place)
            if place.result():
                attempts.paused()
                assert isinstance(attempts.next, Call)
                self._call(attempts.next.items, attempts)
            else:
                attempts.pause_cut_short(Refusal("never"))
                self.core.note_flush_end(attempts.batch, self.now)
        self._told.clear()

    def _call(self, items: list[int], of: Any) -> None:
        self.calls.append((self.now, items))
        self.running[tuple(items)] = of

    def fail(self, *items: int, verdict: Verdict) -> Place:
        """Fail the call with these items, make a pass, and return its place in line."""
        of = self.running.pop(items)
        attempts = of if isinstance(of, Attempts) else self.core.new_attempts(of, has_handler=True)
        attempts.raised(Refusal(), self.now, may_ask=True)
        attempts.handler_answered(verdict)
        place = Place(attempts, self._told)
        self.core.starts.join(place, attempts, self.now)
        self.turn()
        return place

    def succeed(self, *items: int) -> None:
        """End the first call with these items with success."""
        batch = self.running.pop(items)
        batch.returned()
        self.core.note_flush_end(batch, self.now)

    def play(self, until: float) -> None:
        """Let time pass from one wake_at to the next."""
        while (wake_at := self.core.wake_at) <= until:
            assert wake_at > self.now, "wake_at is not after now"
            self.now = self.core.timer_fired = wake_at
            self.turn()
        self.now = until


def driver(throttle: Throttle | None = None, *items: int, **options: Any) -> Driver:
    """Return a driver whose queue has these items; each is a batch if it may start."""
    made = Driver(throttle, **options)
    made.accept(*items)
    return made


# New batches.


@pytest.mark.parametrize("reason", ["policy", "drain", "barrier", "pressure"])
def test_no_reason_overrules_the_throttle(reason: str) -> None:
    """For every reason to flush, calls start when the throttle is ready, without early timers."""
    policy = IntervalPolicy(math.inf, max_records=1) if reason == "policy" else NaturalPolicy(1)
    made = Driver(RateLimit(2, 10.0), policy, max_queue_size=4 if reason == "pressure" else 99)
    if reason == "drain":
        made.core.close()
    made.accept(1, 2, 3, 4, 5, 6)
    if reason == "barrier":
        made.core.barriers.set_barrier()
    made.play(30.0)
    assert [0, 0, 10, 10, 20, 20] == [start for start, _ in made.calls]
    assert math.inf == made.core.wake_at


def test_what_waits_for_the_throttle_may_join_the_batch() -> None:
    """A batch is taken when its call may start, so later items join it."""
    made = driver(RateLimit(1, 10.0), 1, policy=NaturalPolicy())
    made.accept(2)
    made.play(5.0)
    made.accept(3)
    made.play(10.0)
    assert [(0, [1]), (10, [2, 3])] == made.calls


def test_the_time_of_the_throttle_does_not_tick_the_policy() -> None:
    """The policy ticks at its own times only, although one timer serves the throttle, too."""

    class Ticks(IntervalPolicy):
        def tick(self, now: float) -> Any:
            ticks.append(now)
            return super().tick(now)

    ticks: list[float] = []
    made = driver(RateLimit(1, 3.0), 1, policy=Ticks(2.0), max_in_flight=2)
    made.play(2.5)
    made.accept(2)
    made.play(9.0)
    assert ([2.0, 4.5], [(2, [1]), (5, [2])]) == (ticks, made.calls)


# The events of the throttle.


def test_the_throttle_is_told_of_every_call() -> None:
    """The throttle is told once of each start and end, with items and weight, in order."""
    throttle = Noted()
    made = Driver(throttle, NaturalPolicy(3), weigh=lambda item: item)
    made.accept(1, 2, 4)
    made.now = 2.0
    made.fail(1, 2, 4, verdict=Split())
    made.now = 5.0
    made.fail(1, 2, verdict=Retry(1.0))
    made.play(6.0)
    assert [
        ("call_started", 0, 3, 7),
        ("call_done", 2, 3, 2, 7, Refusal),
        ("call_started", 2, 2, 3),
        ("call_done", 5, 2, 3, 3, Refusal),
        ("call_started", 6, 2, 3),
    ] == throttle.told


def test_a_call_that_has_ended_is_told_of_before_the_throttle_is_asked() -> None:
    """An ended call is told before the next question, even within the pass that started it."""
    throttle = Noted()
    core = driver(throttle).core
    for item in (1, 2):
        core.buffer.append(item)
    core.admission.open_burst(0.0)
    core.observe()
    for now in (1.0, 2.0):
        batch = core.start_next_flush(partial(float, now))
        assert batch is not None
        batch.fail(Refusal())
        core.note_flush_end(batch, now)
    ended = "call_done", 1, 1, 0, 0, Refusal
    assert [("call_started", 1, 1, 0), ended, ("call_started", 2, 1, 0)] == throttle.told


def test_the_last_end_is_told_although_nothing_is_due() -> None:
    """observe() tells the throttle of all ends in order, even if nothing is due."""
    throttle = Noted()
    made = driver(throttle, 1, 2)
    for made.now, item in ((1.0, 2), (2.0, 1)):
        made.succeed(item)
    made.core.observe()
    assert [("call_done", 1), ("call_done", 2)] == [facts[:2] for facts in throttle.told[-2:]]


def test_time_does_not_run_backwards_for_a_throttle() -> None:
    """The throttle gets the latest known time, even if the clock goes back."""
    throttle = Noted()
    made = driver(throttle)
    made.now = 5.0
    made.accept(1, 2)
    made.now = 9.0
    made.succeed(1)
    made.now = 3.0
    made.succeed(2)
    made.accept(3)
    assert [5, 5, 9, 9, 9] == [facts[1] for facts in throttle.told]
    assert 9 == throttle.asked[-1]


# The line.


def test_retries_go_in_the_order_in_which_their_pauses_end() -> None:
    """Retries start in the order of their pauses' ends, before new batches."""
    made = driver(RateLimit(2, 10.0), 1, 2, 3)
    made.now = 1.0
    made.fail(1, verdict=Retry(4.0))
    made.fail(2, verdict=Retry(3.0))
    assert (10.0, True) == (made.core.wake_at, made.core.is_due)
    made.play(30.0)
    assert [(0, [1]), (0, [2]), (10, [2]), (10, [1]), (20, [3])] == made.calls


def test_a_new_batch_need_not_wait_for_a_pause() -> None:
    """While a retry pauses, new batches start; the retry starts when its pause is over."""
    made = driver(None, 1)
    made.fail(1, verdict=Retry(4.0))
    assert made.core.is_due
    made.accept(2)
    made.play(9.0)
    assert [(0, [1]), (0, [2]), (4, [1])] == made.calls
    assert (False, math.inf) == (made.core.starts.is_busy, made.core.wake_at)


def test_each_pause_ends_by_itself() -> None:
    """wake_at is the end of the pause that ends first."""
    made = driver(None, 1, 2)
    made.fail(1, verdict=Retry(4.0))
    made.fail(2, verdict=Retry(3.0))
    assert 3.0 == made.core.wake_at
    made.play(9.0)
    assert [(3, [2]), (4, [1])] == made.calls[2:]


def test_the_longest_hold_counts() -> None:
    """Nothing starts before the longest hold is over; then retries go first."""
    made = driver(None, 1, 2)
    made.fail(1, verdict=Retry(7.0, hold=True))
    made.fail(2, verdict=Retry(4.0, hold=True))
    assert 7.0 == made.core.wake_at
    made.accept(3)
    made.play(9.0)
    assert [(7, [2]), (7, [1]), (7, [3])] == made.calls[2:]
    assert not made.core.starts.is_busy


def test_a_hold_outlasts_the_flush_that_asked_for_it() -> None:
    """Although its retry has left the line, because its callers were cancelled, nothing starts."""
    made = driver(None, 1)
    gone = made.fail(1, verdict=Retry(5.0, hold=True))
    made.core.starts.leave(gone)
    made.turn()
    made.accept(2)
    assert 5.0 == made.core.wake_at
    made.play(9.0)
    assert [(5, [2])] == made.calls[1:]
    assert not made.core.starts.is_busy


def test_a_hold_and_the_throttle_are_both_kept() -> None:
    """A call starts when both the hold is over and the throttle is ready."""
    made = driver(RateLimit(1, 5.0), 1)
    made.fail(1, verdict=Retry(3.0, hold=True))
    made.play(6.0)
    made.fail(1, verdict=Retry(6.0, hold=True))
    made.accept(2)
    made.play(20.0)
    assert [(0, [1]), (5, [1]), (12, [1]), (17, [2])] == made.calls


def test_nothing_starts_while_the_queue_is_suspended() -> None:
    """While the queue is suspended, no retry and no batch starts; then both start."""
    made = driver(None, 1)
    made.fail(1, verdict=Retry(1.0))
    made.core.starts.suspend()
    made.accept(2)
    made.play(9.0)
    made.core.close()
    made.turn()
    assert [(0, [1])] == made.calls
    made.core.starts.resume()
    made.turn()
    assert [(9, [1]), (9, [2])] == made.calls[1:]
    assert not made.core.starts.is_busy


def test_a_queue_that_is_suspended_is_checked() -> None:
    """A batch that comes later does not start either while the queue is suspended."""
    made = driver(None)
    made.core.starts.suspend()
    made.turn()
    made.accept(1)
    assert ([], math.inf) == (made.calls, made.core.wake_at)


def test_who_leaves_the_line_is_forgotten() -> None:
    """A retry that leaves the line is not called, not told to the throttle, and sets no timer."""
    throttle = Noted()
    made = driver(throttle, 1, 2)
    gone, stays = made.fail(1, verdict=Retry(1.0)), made.fail(2, verdict=Retry(2.0))
    made.core.starts.leave(gone)
    made.turn()
    assert 2.0 == made.core.wake_at
    stays.cancel()
    made.play(9.0)
    assert (2, [2]) == (len(made.calls), [time for time in throttle.asked if time > 0])
    assert ["call_started"] * 2 + ["call_done"] * 2 == [event for event, *_ in throttle.told]


def test_nothing_is_asked_while_nothing_can_change() -> None:
    """If the throttle answers inf, no timer is set before a running call has ended."""
    throttle = CircuitBreaker(1, 5.0)
    made = driver(throttle, 1)
    made.fail(1, verdict=Retry())
    made.accept(2)
    made.play(5.0)
    assert ([(5, [1])], math.inf) == (made.calls[1:], made.core.wake_at)
    made.now = 8.0
    made.core.close()
    made.turn()
    assert 2 == len(made.calls)


def test_a_flush_that_waits_for_room_ends_the_wait_of_none() -> None:
    """If no call may start and the running flushes wait for room, a producer gets QueueFull."""
    made = driver(CircuitBreaker(1, 5.0), 1, max_queue_size=1)
    made.fail(1, verdict=Retry())
    made.play(5.0)
    made.accept(2)
    producer = Caller()
    (attempts,) = made.running.values()
    made.core.admission.waitlist.join(producer, attempts.batch)
    made.turn()
    assert isinstance(producer.result(), QueueFull)


@pytest.mark.parametrize(
    "never", [math.inf, 10**400, Fraction(10**400, 3)], ids=["inf", "int", "Fraction"]
)
def test_a_time_that_no_float_can_hold_is_never(never: float) -> None:
    """A time that no float can hold counts as inf: nothing starts before a call has ended."""
    throttle = Noted()
    made = driver(throttle, 1, max_queue_size=1)
    throttle.does["ready_at"] = never
    made.accept(2)
    producer, (batch,) = Caller(), made.running.values()
    made.core.admission.waitlist.join(producer, batch)
    made.turn()
    assert isinstance(producer.result(), QueueFull)


def test_a_flush_that_is_to_be_tried_again_ends_the_wait_of_none() -> None:
    """A retry whose pause is over makes no room while it waits for the throttle: QueueFull."""
    made = driver(CircuitBreaker(1, 5.0), 1, 2, max_queue_size=1, max_in_flight=2)
    trying, retried = made.fail(1, verdict=Retry()), made.fail(2, verdict=Retry(7.0))
    made.play(5.0)
    made.accept(3)
    producer = Caller()
    made.core.admission.waitlist.join(producer, trying.attempts.batch)
    made.play(6.0)
    made.turn()
    assert (False, False) == (producer.done(), retried.done())
    made.play(7.0)
    assert (True, False) == (producer.done(), retried.done())
    assert isinstance(producer.result(), QueueFull)


def test_a_timer_that_is_early_is_taken_at_its_word() -> None:
    """If the clock is a little behind the timer, the call starts without another timer."""
    made = driver(RateLimit(1, 3.0), 1, 2)
    made.now, made.core.timer_fired = 2.999, 3.0
    made.turn()
    assert [[1], [2]] == [items for _, items in made.calls]


def test_a_throttle_may_wait_for_a_retry_that_pauses() -> None:
    """An answer of inf is allowed while retries pause: the throttle is asked at the end of each."""
    throttle = Noted()
    made = driver(throttle, 1, 2)
    throttle.does["ready_at"] = math.inf
    made.fail(1, verdict=Retry(3.0))
    made.fail(2, verdict=Retry(5.0))
    made.accept(3)
    for until in (3.0, 5.0):
        assert (until, None) == (made.core.wake_at, made.core.batcher.failure)
        made.play(until)
    assert isinstance(made.core.ending.outcome(), PolicyError)


# Failures of the throttle.

ANSWERS: Iterable[Any] = (None, "soon", math.nan, True, math.inf)


@pytest.mark.parametrize("answer", ANSWERS, ids=repr)
def test_an_answer_that_is_not_a_time_ends_the_queue(answer: Any) -> None:
    """A wrong answer of the throttle ends the queue, and so does inf if no call runs or pauses."""
    made = driver(Noted(ready_at=answer), 1, 2)
    outcome = made.core.ending.outcome()
    assert isinstance(outcome, PolicyError)
    assert f"the throttle Noted answered ready_at with {answer!r}: " in str(outcome)
    assert ([1, 2], []) == (outcome.undelivered, made.calls)


@pytest.mark.parametrize("event", ["ready_at", "call_started", "call_done"])
@pytest.mark.parametrize("error", [Refusal("no"), KeyboardInterrupt(), SystemExit()], ids=type)
def test_a_throttle_that_raises_ends_the_queue(event: str, error: BaseException) -> None:
    """If the throttle raises, no call starts any more, and waiting items are undelivered.

    The throttle is told nothing more. An interrupt is raised by the pass.
    """
    throttle = Noted()
    made = driver(throttle, 1, 2, 3)
    made.fail(1, verdict=Retry(9.0))
    throttle.does[event] = error
    made.succeed(2)
    if isinstance(error, Exception):
        made.accept(4)
    else:
        with pytest.raises(type(error)):
            made.accept(4)
    made.turn()
    events = len(throttle.told) + len(throttle.asked)
    made.succeed(3)
    made.turn()
    outcome = made.core.ending.outcome()
    assert isinstance(outcome, PolicyError)
    assert f"in {event}" in str(outcome)
    assert (error, events) == (outcome.__cause__, len(throttle.told) + len(throttle.asked))
    assert ([1], [4]) == (outcome.in_doubt, outcome.undelivered)
    assert (True, 0) == (made.core.ending.finish(), made.core.batcher.in_flight)


def test_a_retry_whose_start_the_throttle_refuses_is_in_doubt() -> None:
    """If the throttle raises at the start of a retry, the call is not made: items are in doubt."""
    throttle = Noted()
    made = driver(throttle, 1)
    made.fail(1, verdict=Retry(1.0))
    throttle.does["call_started"] = Refusal("no")
    made.turn()
    made.play(1.0)
    made.turn()
    outcome = made.core.ending.outcome()
    assert isinstance(outcome, PolicyError)
    assert ([1], 1) == (outcome.in_doubt, len(made.calls))


@pytest.mark.parametrize("why", ["the throttle has failed", "the flush was interrupted"])
def test_who_joins_the_line_in_vain_is_told_so_at_once(why: str) -> None:
    """A retry that joins the line after a failure or an interrupt is refused at once."""
    throttle = Noted()
    made = driver(throttle, 1)
    if why == "the throttle has failed":
        throttle.does["ready_at"] = Refusal("no")
        made.accept(2)
    else:
        made.running[1,].interrupt()
    (batch,) = made.core.batcher.running
    attempts = made.core.new_attempts(batch, has_handler=True)
    attempts.next = Pause(0.0)
    place = Caller()
    made.core.starts.join(place, attempts, 1.0)
    assert (False, []) == (place.result(), made.core.starts.line)


def test_a_throttle_that_fails_when_it_is_told_is_not_asked() -> None:
    """If the throttle raises when it is told an end, it is not asked, and no call may start."""
    told: list[str] = []
    throttle: RunningThrottle[int] = RunningThrottle(
        Noted(call_done=Refusal("no")), lambda what, _: told.append(what)
    )
    batch = batch_of(1)
    throttle.call_started(batch, 0.0, 1, 0)
    throttle.note_end(batch, 1.0, None)
    assert math.inf == throttle.ready_at(2.0, is_pausing=False)
    assert ["Noted raised Refusal('no') in call_done"] == told
