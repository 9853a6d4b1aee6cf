"""The flush function and its faults."""

import asyncio
import contextlib
from collections.abc import Callable

from flushq import PartialFailure
from tests.sessions.actors import WHO, Actor
from tests.sessions.dice import Dice
from tests.sessions.errors import FAULTS, error_of
from tests.sessions.facts import Item
from tests.sessions.mirror import CURRENT, Flush
from tests.sessions.users import Users

Maker = Callable[[], Item]

WAYS = ["fail"] * 3 + ["mutate"] * 2 + ["work"] * 2 + ["enter"] * 8 + ["resist"] * 10
"""What a sink does besides its work; with "resist" it does not end when it is cancelled."""

WAYS_IN = ["plain", "plain", "nowait", "gather", "timeout", "orphan", "submit", "deliver"]
PARTS = [None, None, None, "all", "last", "last", "even", "even", "beyond"]


class Sink:
    """A flush function.

    Args:
        dice: The source of what each call does.
        make_item: A maker of the items that the sink itself enqueues.
        wickedness: The share of calls that do something unusual.
        trouble: The share of calls that fail apart from that.

    Attributes:
        users: The users of the queue, through which the sink enqueues.
    """

    users: Users

    def __init__(self, dice: Dice, make_item: Maker, wickedness: float, trouble: float) -> None:
        self._dice = dice
        self._make_item = make_item
        self._wickedness = wickedness
        self._trouble = trouble
        self._entries = 6

    async def __call__(self, batch: list[Item]) -> None:
        """Take a batch."""
        flush, mirror = CURRENT.get(), self.users.mirror
        assert flush is not None
        self.users.history.note("sink", "called", tuple(batch))
        if WHO.get() not in {"sink", self.users.started_by}:
            mirror.complain(13, f"the sink runs in the context of {WHO.get()}")
        mirror.call_sink(flush, batch)
        WHO.set("sink")
        error: BaseException | None = None
        try:
            await self._take(flush, batch)
        except BaseException as raised:
            error = raised
            raise
        finally:
            self.users.history.note("sink", "  ended", flush, error)
            mirror.end_call(flush, error)

    async def _take(self, flush: Flush, batch: list[Item]) -> None:
        dice = self._dice
        way = dice.choice(WAYS) if dice.chance(self._wickedness) else ""
        fails = dice.chance(self._trouble) or way == "fail"
        error = self._error(flush, len(batch)) if fails else None
        if way == "work":
            self.users.loop.elapse(0.375)
        if way == "mutate":
            batch.reverse()
            batch.append(self._make_item())
        if error is not None and dice.chance(0.5):
            raise error
        try:
            await self._work(way, flush)
            if error is not None:
                await self._strike(dice.choice([0, 1, 1, 2]))
        except asyncio.CancelledError:
            if way != "resist":
                raise
            await self._resist(flush)
        if error is not None:
            raise error

    def _error(self, flush: Flush, count: int) -> BaseException:
        """Return an error of the batch or of some items; "beyond" names a missing item."""
        which = self._dice.choice(PARTS)
        if which is None:
            return self._dice.choice(FAULTS)(f"{flush} was told to fail")
        indices = {
            "all": range(count - 1, -1, -1),
            "last": [count - 1],
            "even": range(0, count, 2),
            "beyond": [0, count],
        }
        return PartialFailure(
            {index: error_of(index, f"item {index} of {count}") for index in indices[which]}
        )

    async def _work(self, way: str, flush: Flush) -> None:
        for _ in range(self._dice.choice([0, 0, 0, 1, 2])):
            await asyncio.sleep(0)
        if way == "enter" and self._entries > 0:
            self._entries -= 1
            await self._enter(self._dice.choice(WAYS_IN), flush)
        seconds = self._dice.choice([0.0, 0.0, 0.25, 0.5, 1.0, 1.0, 2.0, 0.8125])
        if seconds:
            await asyncio.sleep(4.0 if way == "resist" else seconds)

    async def _strike(self, times: int) -> None:
        """Interrupt a closer ``times`` times, at last so that it runs right after this flush."""
        if times and self._entries > 0:
            self._entries -= 1
            for pause in range(times - 1, -1, -1):
                self.users.loop.call_soon(self._interrupt_closer)
                for _ in range(3 * pause + 1):
                    await asyncio.sleep(0)
            self.users.enqueue_nowait(Actor("sink"), self._make_item())

    def _interrupt_closer(self) -> None:
        actors = self.users.actors.values()
        closers = [actor for actor in actors if actor.closes or actor.name == "owner"]
        for actor in sorted(closers, key=lambda actor: not actor.closes)[:1]:
            self.users.interrupt(actor)

    async def _enter(self, way: str, flush: Flush) -> None:
        """Bring an item to the queue, from inside a flush."""
        actor, users = Actor("sink"), self.users
        if way == "nowait":
            users.enqueue_nowait(actor, self._make_item())
        elif way == "plain":
            await users.enqueue(actor, self._make_item())
        elif way == "gather":
            items = self._make_item(), self._make_item()
            await asyncio.gather(*(users.enqueue(actor, item) for item in items))
        elif way == "timeout":
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await users.enqueue(actor, self._make_item())
        elif way == "deliver":
            await users.deliver(actor, self._make_item())
        elif way == "submit":
            await self._submit(actor, 0.0)
        else:  # an orphan: a task that nothing waits for
            users.enter(f"orphan {flush.number}", lambda orphan: self._submit(orphan, flush.number))

    async def _submit(self, actor: Actor, seconds: float) -> None:
        """Submit an item, and await its receipt after this many seconds."""
        await self.users.submit(actor, self._make_item())
        if seconds:
            await asyncio.sleep(seconds)
        for receipt, call in actor.receipts:
            await self.users.wait(actor, receipt, call)

    async def _resist(self, flush: Flush) -> None:
        """Answer a cancellation with an error, or continue for a second, then return or raise."""
        way = self._dice.choice(["part", "raise", "return", "linger"])
        if way == "part":
            raise PartialFailure({0: ValueError(f"{flush}, dying")})
        if way == "raise":
            raise ValueError(f"{flush}, dying")
        await asyncio.sleep(1.0)
        if way == "linger":
            raise TimeoutError(f"{flush}, at last")
