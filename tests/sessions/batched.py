"""One seed, played on a `Batched`: callers, shared keys, a loader and its faults."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import attrs

from flushq import Batched, Decision, FlushPolicy, FlushqError, IntervalPolicy, NaturalPolicy
from tests.core_sessions.flights import Made
from tests.sessions.configuration import Dice, Moment
from tests.sessions.errors import FAULTS, error_of
from tests.sessions.history import History
from tests.sessions.loop import SessionLoop
from tests.sessions.requests import Ask, Load, Requests
from tests.strategies import HookedPolicy


@attrs.frozen
class Value:
    """What was loaded; no two are the same object."""

    key: int


class Column:
    """What is no Sequence, and has one value after the other all the same."""

    def __init__(self, values: list[object]) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[object]:
        return iter(self._values)

    def __repr__(self) -> str:
        return f"Column({self._values})"


SHAPES: dict[str, Callable[[list[int], list[object]], object]] = {
    "list": lambda keys, values: values,
    "tuple": lambda keys, values: tuple(values),
    "column": lambda keys, values: Column(values),
    "dict": lambda keys, values: dict(zip(keys, values, strict=True)),
    "more": lambda keys, values: {**dict(zip(keys, values, strict=True)), 99: Value(99)},
    "holes": lambda keys, values: dict(list(zip(keys, values, strict=True))[1:]),
    "short": lambda keys, values: values[1:],
    "long": lambda keys, values: [*values, None],
    "text": lambda keys, values: "x" * len(keys),
    "set": lambda keys, values: set(keys),
    "None": lambda keys, values: None,
}
GOOD = ["list", "tuple", "column", "dict", "more"]
FAILURES: list[type[BaseException]] = [*FAULTS, KeyError]


class Heard(HookedPolicy):
    """A policy that tells of every batch; to be the first base of a class."""

    requests: Requests

    def hear(self, event: str, tell: Callable[..., Decision], *facts: Any) -> Decision:
        """Tell how many requests were cut."""
        if event == "flush_started":
            self.requests.cut(facts[1])
        return tell(*facts)


class Natural(Heard, NaturalPolicy):
    """NaturalPolicy, heard."""


class Interval(Heard, IntervalPolicy):
    """IntervalPolicy, heard."""


class Session:
    """The script of one session."""

    def __init__(self, seed: int) -> None:
        self._dice = dice = Dice(seed)
        self.loop = SessionLoop()
        self.history = History(self.loop)
        self.loop.set_exception_handler(self._on_exception)
        limit = dice.choice([None, None, 0, 1.0])
        self._requests = Requests(self.history, limit)
        self.loop.on_idle = self._requests.check_idle
        self._end = dice.moment(6.0)
        self._wickedness = dice.choice([0.0, 0.3, 0.6])
        self._batched: Batched[int, object] = Batched(
            self._load,
            self._policy(),
            max_in_flight=dice.choice([1, 1, 2]),
            max_shutdown_wait=limit,
            weigh=(lambda key: key) if dice.chance(0.1) else None,
        )
        self._requests.batched = self._batched
        self._asks: dict[asyncio.Task[None], Ask | None] = {}

    def _policy(self) -> FlushPolicy:
        records = self._dice.choice([None, 1, 2, 5])
        policy: Heard = Natural(records)
        if self._dice.chance(0.5):
            policy = Interval(self._dice.choice([0.25, 1.0, math.inf]), records)
        policy.requests = self._requests
        return policy

    def play(self) -> None:
        """Play it to the end."""
        owner = self.loop.create_task(self._own())
        for number in range(self._dice.randrange(1, 9)):
            task = self.loop.create_task(self._call(f"caller {number}"), name=f"caller {number}")
            self._asks[task] = None
            if self._dice.chance(0.4):
                self._at(self._dice.moment(6.0), self._cancel, task)
        self.loop.run_until_quiet()
        for task in (owner, *self._asks):
            if not task.done():
                self._requests.complain(f"{task.get_name()} waits for ever")
        for timer in self.loop.timers:
            self._requests.complain(f"a timer is left: {timer}")
        self.loop.close()

    def _on_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._requests.complain(f"{context['message']}: {context.get('exception')!r}")

    def _at(self, moment: Moment, act: Callable[..., None], *args: object) -> None:
        self.loop.call_at(moment.time, self._turns_later, moment.turns, act, *args)

    def _turns_later(self, turns: int, act: Callable[..., None], *args: object) -> None:
        if turns:
            self.loop.call_soon(self._turns_later, turns - 1, act, *args)
        else:
            act(*args)

    # Who.

    async def _own(self) -> None:
        try:
            async with self._batched:
                await asyncio.sleep(self._end.time)
                for _ in range(self._end.turns):
                    await asyncio.sleep(0)
                self._requests.closed_at = self.loop.time()
        except FlushqError as error:
            self.history.note("owner", "got", error)

    async def _call(self, who: str) -> None:
        for _ in range(self._dice.randrange(1, 5)):
            await asyncio.sleep(self._dice.time(2.0))
            await self._ask(Ask(who=who, key=self._dice.randrange(4)))

    async def _ask(self, ask: Ask) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._asks[task] = ask
        self._requests.asked(ask)
        value: object = None
        try:
            value = await self._batched(ask.key)
        except BaseException as error:
            self._requests.told(ask, None, error)
            if isinstance(error, asyncio.CancelledError) and ask.requested:
                raise
        else:
            self._requests.told(ask, value, None)
        finally:
            self._asks[task] = None

    def _cancel(self, task: asyncio.Task[None]) -> None:
        ask = self._asks[task]
        if ask is not None:
            ask.requested = True
        self.history.note(task.get_name(), "is being cancelled")
        task.cancel()

    # The loader.

    def _load(self, keys: list[int]) -> Awaitable[Any]:
        load = self._requests.loader_called(list(keys))
        if self._dice.chance(0.03):
            self._requests.loader_raised(load, Made(TypeError, None))
            return keys  # type: ignore[return-value]  # a loader that is not async
        return self._load_later(load, keys)

    async def _load_later(self, load: Load, keys: list[int]) -> object:
        try:
            await self._take_time(load)
        except asyncio.CancelledError as cancelled:
            self._requests.loader_cancelled(load)
            dying = self._dice.choice(["die", "raise", "return"])
            if dying != "return":
                error = cancelled if dying == "die" else ValueError("the loader, dying")
                self._requests.loader_raised(load, error)
                raise error from None
        if self._dice.chance(self._wickedness / 3):
            failure = self._dice.choice(FAILURES)("the loader was told to raise")
            self._requests.loader_raised(load, failure)
            raise failure
        result = self._result(keys)
        self._requests.loader_returned(load, result)
        return result

    async def _take_time(self, load: Load) -> None:
        for _ in range(self._dice.choice([0, 0, 1, 3])):
            await asyncio.sleep(0)
        if self._dice.chance(self._wickedness / 5):
            await self._ask(Ask(who="loader", key=self._dice.randrange(4), inside=True))
        await asyncio.sleep(self._dice.choice([0.0, 0.25, 1.0, 2.0]))

    def _result(self, keys: list[int]) -> object:
        wicked = self._dice.chance(self._wickedness)
        values: list[object] = [
            error_of(key, f"no {key}") if wicked and self._dice.chance(0.3) else Value(key)
            for key in keys
        ]
        shape = self._dice.choice(list(SHAPES) if wicked else GOOD)
        return SHAPES[shape](keys, values)


def play(seed: int) -> History:
    """Play the session that this seed makes, and return its history, complaints included."""
    session = Session(seed)
    session.play()
    return session.history
