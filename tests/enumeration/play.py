"""One script, played: the actions that are possible, and what they do."""

import asyncio
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from flushq import Failure, PartialFailure, QueueStats, Verdict
from tests.enumeration.setups import Setup
from tests.sessions.actors import Actor
from tests.sessions.actors import Play as ActorPlay
from tests.sessions.facts import Flight, Item
from tests.sessions.handler import ObservedHandler
from tests.sessions.history import SCRIPT
from tests.sessions.sink import ObservedSink
from tests.sessions.stage import Stage
from tests.sessions.waiting import Wait

ORDERS = "fail", "enter"
MOST = {
    "enqueue": 9,
    "flush": 1,
    "aclose": 1,
    "fail": 1,
    "part": 1,
    "enter": 1,
    "cancel owner": 2,
    "forsake": 1,
}

PARTS = "enqueue", "flush", "aclose", "start"


class SinkError(Exception):
    """What the sink raises when it is told to."""


class ObedientSink(ObservedSink):
    """A flush function that waits for orders.

    Attributes:
        orders: For each flight that waits, the future that holds its order.
    """

    def __init__(self, *, stubborn: bool) -> None:
        self.orders: dict[Flight, asyncio.Future[str]] = {}
        self._stubborn = stubborn

    async def work(self, flight: Flight, batch: list[Item]) -> None:
        """Do as told, and end when cancelled; a stubborn sink needs a second cancellation."""
        try:
            await self._obey(flight)
        except asyncio.CancelledError:
            self.cast.checker.cancelled("sink", flight)
            if not self._stubborn or len(flight.cancelled_in) > 1:
                raise
            await self.work(flight, batch)

    async def _obey(self, flight: Flight) -> None:
        while (order := await self._next_order(flight)) != "finish":
            if order == "fail":
                raise SinkError(flight)
            if order == "part":
                raise PartialFailure({0: SinkError(flight)})
            await self.cast.enqueue(Actor("sink"), Item(100 + flight.number), inside=flight)

    async def _next_order(self, flight: Flight) -> str:
        self.orders[flight] = self.cast.loop.create_future()
        try:
            return await self.orders[flight]
        finally:
            del self.orders[flight]


class ObedientHandler(ObservedHandler):
    """A failure handler that always answers the same."""

    def __init__(self, verdict: Verdict) -> None:
        self._verdict = verdict

    def judge(self, flight: Flight, failure: Failure[Item]) -> Verdict:
        """Answer."""
        return self.answer(flight, self._verdict)


class Play:
    """A tiny queue, played action by action from outside its loop; a context manager."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._sink = ObedientSink(stubborn=setup.stubborn)
        handler = None if setup.verdict is None else ObedientHandler(setup.verdict)
        self._orders = ORDERS if handler is None else (*ORDERS, "part")
        self._stage = Stage(setup.limits, setup.policy, self._sink, handler)
        self._loop = self._stage.loop
        self._cast = self._stage.cast
        self._actors = self._cast.actors
        self._body: asyncio.Future[None] = self._loop.create_future()
        self._counts = dict.fromkeys(MOST, 0)
        self._time_passed = False
        self.checker = self._stage.checker
        self.history = self._stage.history

    def __enter__(self) -> Self:
        self._stage.__enter__()
        asyncio._set_running_loop(self._loop)  # noqa: SLF001 - the loop runs by hand
        for action in self._setup.prologue:
            self.take(action)
        self._time_passed = False
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        asyncio._set_running_loop(None)  # noqa: SLF001 - the loop ran by hand
        return self._stage.__exit__(kind, error, traceback)

    def stats(self) -> QueueStats:
        """The account of the queue."""
        return self._stage.queue.stats()

    # What is possible.

    def actions(self) -> list[str]:
        """The actions that are possible now and change something; "settle" is behind "step"."""
        found = [*self._steps(), *self._commands(), *self._cancellations()]
        if self._counts["enqueue"] < self._setup.producers:
            found.append("enqueue")
        found += [action for action in ("flush", "aclose") if self._may(action)]
        if "owner" not in self._actors:
            found.append("start")
        elif self._setup.owner == "with" and not self._body.done():
            found.append("leave")
        return found

    def _steps(self) -> Iterator[str]:
        if not self._loop.is_idle:
            yield "step"
            yield "settle"
        if self._loop.timers and not self._time_passed:
            yield "advance"

    def _commands(self) -> Iterator[str]:
        for flight, order in self._sink.orders.items():
            if not order.done():
                yield f"finish {flight.number}"
                yield from (f"{what} {flight.number}" for what in self._orders if self._may(what))

    def _cancellations(self) -> Iterator[str]:
        for name, actor in self._actors.items():
            if name == "owner":
                started = self.checker.endings.started and not actor.done
                if started and self._may("cancel owner"):
                    yield "cancel owner"
            elif isinstance(actor.waiting, Wait):
                if not actor.waiting.requested and self._may("forsake"):
                    yield f"forsake {name}"
            elif actor.waiting is not None and not actor.waiting.requested:
                yield f"cancel {name}"

    def _may(self, action: str) -> bool:
        return self._counts[action] < MOST[action]

    def is_vain(self, action: str, last: str, left: int) -> bool:
        """Whether others do the same: before the end all settles, and so it does in steps."""
        return (action == "step" and left == 1) or (action == "settle" and last == "step")

    # What is done.

    def take(self, action: str, *, again: bool = False) -> bool:
        """Do it; return whether a single step was enough to settle everything."""
        self.history.note(SCRIPT, action)
        verb, _, target = action.partition(" ")
        counted = action if action in MOST else verb
        if counted in self._counts:
            self._counts[counted] += 1
        if verb in {"cancel", "forsake"}:
            self._cast.interrupt(self._actors[target])
        elif target:
            self._order(verb, int(target))
        elif verb in PARTS:
            self._enter(verb)
        elif verb == "leave":
            self._body.set_result(None)
        elif verb == "advance":
            self._time_passed = True
            self._loop.advance()
        else:
            self._move(verb)
        return verb == "step" and self._loop.is_idle

    def _order(self, what: str, number: int) -> None:
        for flight, order in self._sink.orders.items():
            if flight.number == number:
                order.set_result(what)

    def _enter(self, verb: str) -> None:
        count = self._counts.get(verb, 0)
        parts: dict[str, tuple[str, ActorPlay]] = {
            "enqueue": (f"producer {count}", self._produce),
            "flush": ("barrier", self._cast.flush),
            "aclose": ("closer", self._cast.aclose),
            "start": ("owner", self._own if self._setup.owner == "with" else self._cast.run),
        }
        self._cast.enter(*parts[verb])

    async def _produce(self, actor: Actor) -> None:
        bring = self._cast.deliver if self._setup.receipts else self._cast.enqueue
        await bring(actor, Item(int(actor.name.split()[1])))

    async def _own(self, actor: Actor) -> None:
        await self._cast.own(actor, self._wait_for_body)

    async def _wait_for_body(self) -> None:
        await self._body

    def _move(self, verb: str) -> None:
        """Let the loop go on, for one step or until nothing is ready."""
        self._loop.step()
        while verb == "settle" and not self._loop.is_idle:
            self._loop.step()
        self._time_passed = self._time_passed and not self._loop.is_idle

    # The end.

    def finish(self) -> None:
        """Bring whatever is left to its end, and judge."""
        while (action := self._next_to_end()) is not None:
            self.take(action)
        self._stage.finish()

    def _next_to_end(self) -> str | None:
        if not self._loop.is_idle:
            return "settle"
        orders = [flight for flight, order in self._sink.orders.items() if not order.done()]
        if orders:
            return f"finish {orders[0].number}"
        if "owner" not in self._actors:
            return "start"
        if not self._actors["owner"].done:
            return self._next_to_end_owner()
        return "advance" if self._loop.timers else None

    def _next_to_end_owner(self) -> str | None:
        if self._setup.owner == "with" and not self._body.done():
            return "leave"
        if self._loop.timers:
            return "advance"
        return "cancel owner" if self._actors["owner"].waiting is not None else None
