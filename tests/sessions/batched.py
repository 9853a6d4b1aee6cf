"""One seed, played on a `Batched`: callers, shared keys, a loader and its faults, all checked.

Keys that are even, and those that are odd, are partitions now and then: no load has both. What may
wait is bounded now and then, and a throttle says when a load may start, or fails.

`tests.sessions.asking` says which requests wait. The loader is called with the keys of those
requests of a batch that still have callers: that is a *load*. What it has returned or raised says
what each of their callers must be told.
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
from tests.sessions.throttles import HeardThrottle

_logger = logging.getLogger("flushq")


def limits_of(dice: Dice) -> Limits:
    """What the queue of the requests keeps to: half of them are bounded."""
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
        self._throttle: HeardThrottle | None = None
        self._failure: tuple[BaseException | None] | None = None
        self._wickedness = dice.choice([0.0, 0.3, 0.6])
        heard = None if limits.throttle is None else HeardThrottle(limits.throttle, self)
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
            throttle=heard,
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
        """Play it to the end."""
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
        """A record is logged: hand it out to nobody."""
        self.history.note("log", record.getMessage())
        self._failures += record.getMessage().startswith("the queue has failed")
        self._news += record.levelno == logging.WARNING
        return False

    def _check_records(self) -> None:
        told = self._failures, self._news > 0
        right = self._failure is not None, self._waiting.displaced > 0
        if told != right:
            self._complain(f"log records of a failure, and of displacing: {told}, not {right}")

    def _complain(self, text: str) -> None:
        self.history.complain(20, text)

    # Who asks, and what they are told.

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
        """What the task asks for that runs is accepted."""
        ask = self._asks[asyncio.current_task()]
        self.history.note(ask.task.get_name(), "  is accepted", ask.key)
        if self._ends_at < math.inf:
            self._complain(f"{ask.task.get_name()} comes in when the queue ends")
        self._waiting.accept(ask)

    def _check(self, ask: Ask, value: object, error: BaseException | None) -> None:
        who = ask.task.get_name()
        self.history.note(who, "  got", ask.key, value, error)
        if not self._is_right(ask, value, error):
            self._complain(f"{who} asked for {ask.key} and got {value} {error!r}")
        if isinstance(error, FlushqError | KeyError):
            if any(error is other for other in self._told):
                self._complain(f"{error!r} is an object that somebody else got")
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
        """Whether the close may be cut short."""
        return self.loop.time() >= self._ends_at + self._limits.shutdown_seconds

    # The policy.

    def told(self, policy: object, event: str, *facts: Any) -> None:
        """The policy hears of an event: of a batch, perhaps, that was cut."""
        if event == "flush_started":
            core = self._batched.queue._core  # noqa: SLF001 - it tells which partition it is of
            batch = next(reversed(core.batcher.running))
            self._batches.append(self._waiting.cut(facts[1], batch.partition))
            self._running += 1
        elif event == "flush_done":
            self._running -= 1

    def answered(self, decision: Decision) -> Decision:
        """The policy answers."""
        return decision

    def policy_failed(self, cause: BaseException | None) -> None:
        """The policy fails: none does."""

    def copy_failed(self, error: Exception) -> None:
        """Another copy cannot be made: all can."""

    # The throttle.

    def throttle_copied(self, copied: HeardThrottle) -> None:
        """This is the copy that is told."""
        self._throttle = copied

    def call_started(self, *, was_ready: bool) -> None:
        """A call starts: of a batch that was just cut."""
        if not was_ready:
            self.history.complain("H2", "a call starts that may not")

    def call_done(self, error: BaseException | None) -> None:
        """A call has ended: as the loader has, or the limit has come before that was called."""
        left = [each for each in self._raised if each is not error]
        is_known = error is None or len(left) < len(self._raised)
        if not is_known and not (self._stops and isinstance(error, CancelledError)):
            self.history.complain("H1", f"the throttle is told of {error!r}")
        self._raised = left

    def throttle_failed(self, cause: BaseException | None) -> None:
        """The queue has failed: what was not handed over will never be."""
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
        """The requests that are loaded: a batch's, but for those whose callers have all gone."""
        for batch in self._batches:
            wanted = [request for request in batch if request.key in keys]
            left_out = [request for request in batch if request.key not in keys]
            in_vain = all(ask.is_cancelled for request in left_out for ask in request.callers)
            has_callers = all(request.callers for request in wanted)
            if keys == [request.key for request in wanted] and in_vain and has_callers:
                self._batches.remove(batch)
                self._loaded += wanted
                return wanted
        self._complain(f"the loader was called with {keys}, for nobody")
        return []

    async def _take_time(self) -> None:
        for _ in range(self._dice.choice([0, 0, 1, 3])):
            await asyncio.sleep(0)
        await asyncio.sleep(self._dice.choice([0.0, 0.25, 1.0, 2.0]))

    def _result(self, keys: list[int], requests: list[Request]) -> object:
        """A list or a mapping of results, which are exceptions perhaps, or one of which misses."""
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
        """It is known what the callers must be told."""
        for request in requests:
            request.answer = answer(request)

    # An idle moment.

    def _check_idle(self) -> None:
        """No caller waits for a load that has not begun, or has ended."""
        for batch in self._batches:
            if any(request.callers for request in batch):
                self._complain(f"callers of {batch} wait, and nothing is loaded")
        for request in self._loaded:
            if request.answer is not None and request.callers:
                self._complain(f"callers of {request} wait, though it was loaded")
        if self._failure is None and not self._stops:
            self._waiting.check_line()
            self._check_start()
            self._check_facts()

    def _check_start(self) -> None:
        """A load that must begin does so as soon as it may."""
        now, waiting = self.loop.time(), self._waiting
        must = waiting.is_pressing or self._is_closed
        may = self._running == 0 and (self._throttle is None or self._throttle.may_start(now))
        if waiting.requests and must and may:
            self.history.complain("B4", f"{waiting.requests} wait, and nothing is loaded")

    def _check_facts(self) -> None:
        """The account is right, and so are the facts of the policy and of the throttle."""
        queue, waiting = self._batched.queue, self._waiting
        stats, throttle = queue.stats(), self._throttle
        told = stats.accepted, stats.duplicates, stats.displaced, stats.pending
        right = waiting.accepted, waiting.duplicates, waiting.displaced, len(waiting.requests)
        if told != right:
            self.history.complain("B3", f"stats() are {told}, not {right}")
        facts = queue.policy.queue.pending, queue.policy.queue.weight
        if not self._limits.partitioned and facts != (right[-1], waiting.weight):
            self.history.complain("B5", f"the policy knows of {facts}")
        if throttle is not None and (throttle.running != self._running or self._raised):
            self.history.complain("H1", f"{throttle.running} calls run, {self._raised} is not told")


def _tells(key: int, results: dict[int, object]) -> Answer:
    """The result for this key, raised if it is an exception; a KeyError if there is none."""

    def is_told(value: object, error: BaseException | None) -> bool:
        if key not in results:
            return type(error) is KeyError and error.args == (key,)
        right = results[key]
        return error is right if isinstance(right, BaseException) else value is right

    return is_told


def _fails(cause: BaseException) -> Answer:
    """An ItemFailed with this cause."""
    return lambda value, error: type(error) is ItemFailed and error.__cause__ is cause


def play(seed: int) -> History:
    """Play the session that this seed makes, and return its history, complaints included."""
    session = Session(seed)

    class SeenRequest(flushq.requests.Request[int]):
        """A request that tells when it is accepted."""

        __slots__ = ()

        def join(self, kept: flushq.requests.Request[int]) -> None:
            """Tell of it."""
            session.accepted()
            super().join(kept)

    _logger.addFilter(session.on_record)
    with mock.patch("flushq.aio.batched.Request", SeenRequest):
        session.play()
    _logger.removeFilter(session.on_record)
    return session.history
