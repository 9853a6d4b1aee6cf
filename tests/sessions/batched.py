"""One seed, played on a `Batched`: callers, shared keys, a loader and its faults, all checked.

Keys that are even, and those that are odd, are partitions now and then: no load has both.

Callers with the same key share a *request* from the first of them until its batch is cut. The
loader is called with the keys of those requests of a batch that still have callers: that is a
*load*. What it has returned or raised says what each of their callers must be told.
"""

import asyncio
import math
from asyncio import CancelledError
from collections.abc import Callable
from typing import Any

import attrs

from flushq import Batched, Decision, FlushqError, ItemFailed, QueueClosed, ShutdownTimeout
from tests.sessions.dice import Dice, policy_of
from tests.sessions.errors import FAULTS, error_of
from tests.sessions.facts import Limits
from tests.sessions.history import History
from tests.sessions.loop import SessionLoop
from tests.sessions.policies import make_policy

Answer = Callable[[object, BaseException | None], bool]
"""Whether a caller is told what it must be: a value, or an exception."""


@attrs.frozen
class Value:
    """What was loaded; no two are the same object."""

    key: int


@attrs.define(eq=False)
class Request:
    """What some callers have asked for together.

    Attributes:
        key: What.
        callers: Those who still wait.
        answer: What they must be told, once it is known.
    """

    key: int
    callers: list["Ask"] = attrs.field(factory=list)
    answer: Answer | None = None


@attrs.define(eq=False)
class Ask:
    """One call of a `Batched`.

    Attributes:
        key: What is asked for.
        task: Who asks.
        is_cancelled: Whether the caller is being cancelled.
        request: The request that it shares; None if it is refused.
    """

    key: int
    task: asyncio.Task[Any]
    is_cancelled: bool = False
    request: Request | None = None


class Session:
    """One session."""

    def __init__(self, seed: int) -> None:
        self._dice = dice = Dice(seed)
        self.loop = SessionLoop()
        self.loop.on_idle, self.loop.on_cancel = self._check_idle, self._on_cancel
        self.loop.set_exception_handler(self._on_exception)
        self.history = History(self.loop)
        self._limit = dice.choice([math.inf, math.inf, 0, 1.0])
        self._end = dice.moment(6.0)
        self._closed_at = math.inf
        self._is_partitioned = dice.chance(1 / 3)
        self._wickedness = dice.choice([0.0, 0.3, 0.6])
        self._batched: Batched[int, object] = Batched(
            self._load,
            make_policy(
                policy_of(dice, faulty=False),
                Limits(max_records=dice.choice([None, 1, 2, 5])),
                self,
            ),
            max_in_flight=dice.choice([1, 1, 2]),
            partition_key=_parity if self._is_partitioned else None,
            max_in_flight_per_partition=dice.choice([1, 1, 2, None]),
            max_shutdown_wait=self._limit,
        )
        self._asks: dict[asyncio.Task[Any], Ask] = {}
        self._waiting: list[Request] = []
        self._batches: list[list[Request]] = []
        self._loaded: list[Request] = []
        self._told: list[BaseException] = []

    def play(self) -> None:
        """Play it to the end."""
        self.loop.create_task(self._own(), name="owner")
        for number in range(self._dice.randrange(1, 9)):
            task = self.loop.create_task(self._call(), name=f"caller {number}")
            if self._dice.chance(0.4):
                self.loop.call_at(self._dice.time(6.0), self._cancel, task, self._dice.randrange(4))
        self.loop.run_forever()
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
                self._closed_at = self.loop.time()
        except FlushqError as error:
            self.history.note("owner", "got", error)

    async def _call(self) -> None:
        for _ in range(self._dice.randrange(1, 5)):
            await asyncio.sleep(self._dice.time(2.0))
            await self._ask()

    async def _ask(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        ask = Ask(self._dice.randrange(4), task)
        self.history.note(task.get_name(), "asks", ask.key)
        if self._closed_at == math.inf:
            self._share(ask)
        self._asks[task] = ask
        value, error = None, None
        try:
            value = await self._batched(ask.key)
        except BaseException as raised:
            error = raised
        del self._asks[task]
        self._check(ask, value, error)
        if isinstance(error, CancelledError) and ask.is_cancelled:
            raise error

    def _share(self, ask: Ask) -> None:
        same = [request for request in self._waiting if request.key == ask.key]
        ask.request = same[0] if same else Request(ask.key)
        ask.request.callers.append(ask)
        if not same:
            self._waiting.append(ask.request)

    def _check(self, ask: Ask, value: object, error: BaseException | None) -> None:
        who = ask.task.get_name()
        self.history.note(who, "  got", ask.key, value, error)
        if ask.request is not None:
            ask.request.callers.remove(ask)
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
            return isinstance(error, QueueClosed)
        if ask.request.answer is None:
            return isinstance(error, ShutdownTimeout) and self._stops
        return ask.request.answer(value, error)

    @property
    def _stops(self) -> bool:
        """Whether the close may be cut short."""
        return self.loop.time() >= self._closed_at + self._limit

    # The policy.

    def told(self, policy: object, event: str, *facts: Any) -> None:
        """The policy hears of an event: of a batch, perhaps, that was cut."""
        if event == "flush_started":
            core = self._batched.queue._core  # noqa: SLF001 - it tells which partition it is of
            batch = next(reversed(core.batcher.running))
            same = [each for each in self._waiting if self._partition_of(each) == batch.partition]
            self._batches.append(same[: facts[1]])
            self._waiting = [each for each in self._waiting if each not in self._batches[-1]]

    def _partition_of(self, request: Request) -> int | None:
        return _parity(request.key) if self._is_partitioned else None

    def answered(self, decision: Decision) -> Decision:
        """The policy answers."""
        return decision

    def policy_failed(self, cause: BaseException | None) -> None:
        """The policy fails: none does."""

    def copy_failed(self, error: Exception) -> None:
        """Another copy cannot be made: all can."""

    # The loader.

    async def _load(self, keys: list[int]) -> Any:
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


def _parity(key: int) -> int:
    return key % 2


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
    session.play()
    return session.history
