"""One seed, played on a `Batched`: callers, shared keys, a loader and its faults, all checked.

In some sessions the even and the odd keys are two partitions, so no load has both. In some the
waiting requests are bounded, and in some a throttle decides when a load may start, or fails.

`tests.sessions.asking` models the waiting requests. A *load* is a call of the loader, with the keys
of those requests of a batch that still have callers. Its result or exception decides what each of
these callers must get.
"""

import asyncio
import logging
import math
from asyncio import CancelledError
from collections.abc import Callable
from typing import Any
from unittest import mock

import attrs

import flushq.requests
from flushq import (
    Batched,
    Decision,
    FlushqError,
    ItemFailed,
    PolicyError,
    QueueClosed,
    ShutdownTimeout,
)
from tests.sessions.asking import Answer, Ask, Request, Value, Waiting, parity_of, weight_of
from tests.sessions.dice import Dice, policy_of, throttle_of
from tests.sessions.errors import FAULTS, error_of
from tests.sessions.facts import Limits
from tests.sessions.history import History
from tests.sessions.loop import SessionLoop
from tests.sessions.policies import make_policy
from tests.sessions.throttles import RecordedThrottle

_logger = logging.getLogger("flushq")


def limits_of(dice: Dice) -> Limits:
    """Return the limits of the queue of requests: in half of the sessions it is bounded."""
    limits = Limits(
        max_in_flight=dice.choice([1, 1, 2]),
        max_shutdown_wait=dice.choice([math.inf, math.inf, 0, 1.0]),
        max_records=dice.choice([None, 1, 2, 5]),
        partitioned=dice.chance(1 / 3),
        max_in_flight_per_partition=dice.choice([1, 1, 2, None]),
        throttle=throttle_of(dice) if dice.chance(0.4) else None,
    )
    if dice.chance(0.5):
        return limits
    return attrs.evolve(
        limits,
        max_queue_size=dice.choice([1, 2, 3]),
        max_queue_weight=dice.choice([None, 2.0, 3.0, 4.0]),
        when_full=dice.choice(["wait", "drop_oldest", "drop_newest"]),
    )


class Session:
    """One session."""

    def __init__(self, seed: int) -> None:
        self._dice = dice = Dice(seed)
        self.loop = SessionLoop()
        self.loop.on_idle, self.loop.on_cancel = self._check_idle, self._on_cancel
        self.loop.set_exception_handler(self._on_exception)
        self.history = History(self.loop)
        self._limits = limits = limits_of(dice)
        self._end = dice.moment(6.0)
        self._is_closed, self._ends_at = False, math.inf
        self._throttle: RecordedThrottle | None = None
        self._failure: tuple[BaseException | None] | None = None
        self._wickedness = dice.choice([0.0, 0.3, 0.6])
        recorded = None if limits.throttle is None else RecordedThrottle(limits.throttle, self)
        self._batched: Batched[int, object] = Batched(
            self._load,
            make_policy(policy_of(dice, faulty=False), limits, self),
            weigh=weight_of,
            partition_key=parity_of if limits.partitioned else None,
            max_queue_size=limits.max_queue_size,
            max_queue_weight=limits.max_queue_weight,
            when_full=limits.when_full,
            max_in_flight=limits.max_in_flight,
            max_in_flight_per_partition=limits.max_in_flight_per_partition,
            max_shutdown_wait=limits.max_shutdown_wait,
            throttle=recorded,
        )
        self._asks: dict[asyncio.Task[Any] | None, Ask] = {}
        self._waiting = Waiting(limits, self.history.complain)
        self._batches: list[list[Request]] = []
        self._loaded: list[Request] = []
        self._told: list[BaseException] = []
        self._raised: list[BaseException] = []
        self._running = self._failures = self._news = 0
        self.history.note("PLAN", f"{limits}")

    def play(self) -> None:
        """Play the session to the end."""
        self.loop.create_task(self._own(), name="owner")
        for number in range(self._dice.randrange(1, 9)):
            task = self.loop.create_task(self._call(), name=f"caller {number}")
            if self._dice.chance(0.4):
                self.loop.call_at(self._dice.time(6.0), self._cancel, task, self._dice.randrange(4))
        self.loop.run_forever()
        self._check_records()
        for left in (*self.loop.tasks, *self.loop.timers):
            self._complain(f"{left} is left")
        self.loop.close()

    def _cancel(self, task: asyncio.Task[Any], turns: int) -> None:
        if turns:
            self.loop.call_soon(self._cancel, task, turns - 1)
        else:
            task.cancel()

    def _on_cancel(self, task: asyncio.Task[Any]) -> None:
        self.history.note(task.get_name(), "is being cancelled")
        if task in self._asks:
            self._asks[task].is_cancelled = True

    def _on_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._complain(f"{context['message']}: {context.get('exception')!r}")

    def on_record(self, record: logging.LogRecord) -> bool:
        """Count a log record, and return False, so that no handler gets it."""
        self.history.note("log", record.getMessage())
        self._failures += record.getMessage().startswith("the queue has failed")
        self._news += record.levelno == logging.WARNING
        return False

    def _check_records(self) -> None:
        told = self._failures, self._news > 0
        right = self._failure is not None, self._waiting.displaced > 0
        if told != right:
            self._complain(f"failures logged, displacing logged: {told}, not {right}")

    def _complain(self, text: str) -> None:
        self.history.complain(20, text)

    # The callers, and what they get.

    async def _own(self) -> None:
        try:
            async with self._batched:
                seconds, turns = self._end
                await asyncio.sleep(seconds)
                for _ in range(turns):
                    await asyncio.sleep(0)
                self._is_closed = True
                self._ends_at = min(self._ends_at, self.loop.time())
        except FlushqError as error:
            self.history.note("owner", "got", error)

    async def _call(self) -> None:
        for _ in range(self._dice.randrange(1, 5)):
            await asyncio.sleep(self._dice.time(2.0))
            await self._ask()

    async def _ask(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        ask = self._asks[task] = Ask(self._dice.randrange(4), task)
        self._waiting.line.append(ask)
        self.history.note(task.get_name(), "asks", ask.key)
        value, error = None, None
        try:
            value = await self._batched(ask.key)
        except BaseException as raised:
            error = raised
        del self._asks[task]
        if ask.request is None:
            self._waiting.line.remove(ask)
        else:
            ask.request.callers.remove(ask)
        self._check(ask, value, error)
        if isinstance(error, CancelledError) and ask.is_cancelled:
            raise error

    def accepted(self) -> None:
        """Note that the call of the current task is accepted."""
        ask = self._asks[asyncio.current_task()]
        self.history.note(ask.task.get_name(), "  is accepted", ask.key)
        if self._ends_at < math.inf:
            self._complain(f"{ask.task.get_name()} is accepted while the queue ends")
        self._waiting.accept(ask)

    def _check(self, ask: Ask, value: object, error: BaseException | None) -> None:
        who = ask.task.get_name()
        self.history.note(who, "  got", ask.key, value, error)
        if not self._is_right(ask, value, error):
            self._complain(f"{who} asked for {ask.key} and got {value} {error!r}")
        if isinstance(error, FlushqError | KeyError):
            if any(error is other for other in self._told):
                self._complain(f"{error!r} is an object that another caller got, too")
            self._told.append(error)

    def _is_right(self, ask: Ask, value: object, error: BaseException | None) -> bool:
        if ask.is_cancelled:
            return isinstance(error, CancelledError)
        if ask.request is None:
            is_refused = self._is_closed and isinstance(error, QueueClosed)
            return is_refused or self._tells_of_failure(error)
        if ask.request.answer is not None:
            return ask.request.answer(value, error)
        if self._failure is not None:
            return self._tells_of_failure(error)
        return isinstance(error, ShutdownTimeout) and self._stops

    def _tells_of_failure(self, error: BaseException | None) -> bool:
        if not isinstance(error, PolicyError) or self._failure is None:
            return False
        return error.__cause__ is self._failure[0]

    @property
    def _stops(self) -> bool:
        """Whether the time limit of the close has passed."""
        return self.loop.time() >= self._ends_at + self._limits.shutdown_seconds

    # The policy.

    def told(self, policy: object, event: str, *facts: Any) -> None:
        """Note an event of the policy; if it is the start of a flush, its batch is cut."""
        if event == "flush_started":
            core = self._batched.queue._core  # noqa: SLF001 - it tells the partition of the batch
            batch = next(reversed(core.batcher.running))
            self._batches.append(self._waiting.cut(facts[1], batch.partition))
            self._running += 1
        elif event == "flush_done":
            self._running -= 1

    def answered(self, decision: Decision) -> Decision:
        """Return the answer of the policy."""
        return decision

    def policy_failed(self, cause: BaseException | None) -> None:
        """Do nothing: no policy fails in these sessions."""

    def copy_failed(self, error: Exception) -> None:
        """Do nothing: every policy can be copied in these sessions."""

    # The throttle.

    def throttle_copied(self, copied: RecordedThrottle) -> None:
        """Keep the copy of the throttle that the queue uses."""
        self._throttle = copied

    def call_started(self, *, was_ready: bool) -> None:
        """Complain if a call starts that the throttle does not allow yet."""
        if not was_ready:
            self.history.complain("H2", "a call starts before the throttle allows it")

    def call_done(self, error: BaseException | None) -> None:
        """Complain if the loader did not raise this error, unless the close has cut the call."""
        left = [each for each in self._raised if each is not error]
        is_known = error is None or len(left) < len(self._raised)
        if not is_known and not (self._stops and isinstance(error, CancelledError)):
            text = f"the throttle is told of {error!r}, which the loader did not raise"
            self.history.complain("H1", text)
        self._raised = left

    def throttle_failed(self, cause: BaseException | None) -> None:
        """Note that the queue has failed: no request that waits is loaded any more."""
        self.history.note("throttle", "fails", cause)
        if self._failure is None:
            self._failure = (cause,)
            self._ends_at = min(self._ends_at, self.loop.time())
            self._waiting.requests.clear()
            self._batches.clear()

    # The loader.

    async def _load(self, keys: list[int]) -> Any:
        try:
            return await self._load_or_raise(keys)
        except BaseException as error:
            self._raised.append(error)
            raise

    async def _load_or_raise(self, keys: list[int]) -> Any:
        self.history.note("loader", "called", tuple(keys))
        requests, interrupted = self._requests_of(list(keys)), False
        try:
            await self._take_time()
        except CancelledError as cancelled:
            interrupted = True
            if not self._stops:
                self._complain("the loader was cancelled without need")
            dying = self._dice.choice(["die", "raise", "return"])
            if dying != "return":
                raise (cancelled if dying == "die" else ValueError("dying")) from None
        if self._dice.chance(self._wickedness / 3):
            failure = self._dice.choice([*FAULTS, KeyError])("the loader was told to raise")
            if not interrupted:  # else the queue ends first
                self._answer(requests, lambda _: _fails(failure))
            raise failure
        return self._result(keys, requests)

    def _requests_of(self, keys: list[int]) -> list[Request]:
        """Return the requests of this load: a batch without those that have lost all callers."""
        for batch in self._batches:
            wanted = [request for request in batch if request.key in keys]
            left_out = [request for request in batch if request.key not in keys]
            in_vain = all(ask.is_cancelled for request in left_out for ask in request.callers)
            has_callers = all(request.callers for request in wanted)
            if keys == [request.key for request in wanted] and in_vain and has_callers:
                self._batches.remove(batch)
                self._loaded += wanted
                return wanted
        self._complain(f"the loader was called with {keys}, although no batch has these keys")
        return []

    async def _take_time(self) -> None:
        for _ in range(self._dice.choice([0, 0, 1, 3])):
            await asyncio.sleep(0)
        await asyncio.sleep(self._dice.choice([0.0, 0.25, 1.0, 2.0]))

    def _result(self, keys: list[int], requests: list[Request]) -> object:
        """Return a list or a mapping of results; some may be exceptions, and one may be missing."""
        wicked = self._dice.chance(self._wickedness)
        results: dict[int, object] = {
            key: error_of(key, f"no {key}") if wicked and self._dice.chance(0.3) else Value(key)
            for key in keys
        }
        self._answer(requests, lambda request: _tells(request.key, results))
        shape = self._dice.choice(["list", "dict", "holes"][: 3 if wicked else 2])
        if shape == "holes":
            del results[keys[0]]
        return list(results.values()) if shape == "list" else results

    def _answer(self, requests: list[Request], answer: Callable[[Request], Answer]) -> None:
        """Set what the callers of these requests must get."""
        for request in requests:
            request.answer = answer(request)

    # An idle moment.

    def _check_idle(self) -> None:
        """Complain if callers wait although no load runs for them."""
        for batch in self._batches:
            if any(request.callers for request in batch):
                self._complain(f"callers of {batch} wait, and no load runs")
        for request in self._loaded:
            if request.answer is not None and request.callers:
                self._complain(f"callers of {request} wait, but its load has ended")
        if self._failure is None and not self._stops:
            self._waiting.check_line()
            self._check_start()
            self._check_facts()

    def _check_start(self) -> None:
        """Complain if a load must start, may start, and does not."""
        now, waiting = self.loop.time(), self._waiting
        must = waiting.is_pressing or self._is_closed
        may = self._running == 0 and (self._throttle is None or self._throttle.may_start(now))
        if waiting.requests and must and may:
            self.history.complain("B4", f"{waiting.requests} wait, and no load runs")

    def _check_facts(self) -> None:
        """Complain if the figures of the queue, of its policy or of its throttle are wrong."""
        queue, waiting = self._batched.queue, self._waiting
        stats, throttle = queue.stats(), self._throttle
        told = stats.accepted, stats.duplicates, stats.displaced, stats.pending
        right = waiting.accepted, waiting.duplicates, waiting.displaced, len(waiting.requests)
        if told != right:
            self.history.complain("B3", f"stats() is {told}, not {right}")
        facts = queue.policy.queue.pending, queue.policy.queue.weight
        if not self._limits.partitioned and facts != (right[-1], waiting.weight):
            self.history.complain("B5", f"the policy counts {facts}")
        if throttle is not None and (throttle.running != self._running or self._raised):
            text = f"the throttle counts {throttle.running} calls, and was not told {self._raised}"
            self.history.complain("H1", text)


def _tells(key: int, results: dict[int, object]) -> Answer:
    """Expect the result for this key: returned, raised if an exception, or a KeyError."""

    def is_told(value: object, error: BaseException | None) -> bool:
        if key not in results:
            return type(error) is KeyError and error.args == (key,)
        right = results[key]
        return error is right if isinstance(right, BaseException) else value is right

    return is_told


def _fails(cause: BaseException) -> Answer:
    """Expect an ItemFailed with this cause."""
    return lambda value, error: type(error) is ItemFailed and error.__cause__ is cause


def play(seed: int) -> History:
    """Play the session that this seed makes, and return its history, complaints included."""
    session = Session(seed)

    class SeenRequest(flushq.requests.Request[int]):
        """A request that tells the session when it is accepted."""

        __slots__ = ()

        def join(self, stays: flushq.requests.Request[int]) -> None:
            """Tell the session, and join."""
            session.accepted()
            super().join(stays)

    _logger.addFilter(session.on_record)
    with mock.patch("flushq.aio.batched.Request", SeenRequest):
        session.play()
    _logger.removeFilter(session.on_record)
    return session.history
