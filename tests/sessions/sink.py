"""The flush function, which does what its faults say."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator

from flushq import PartialFailure
from tests.sessions.actors import WHO, Actor
from tests.sessions.facts import Item
from tests.sessions.faults import Behaviour, partial_failure
from tests.sessions.mirror import CURRENT, Flush
from tests.sessions.users import Users

Maker = Callable[[], Item]


class Sink:
    """A flush function that behaves in one way after the other.

    Args:
        behaviours: What it does.
        make_item: Makes the items that it enqueues itself.

    Attributes:
        users: Who uses the queue; the sink does so too.
    """

    users: Users

    def __init__(self, behaviours: Iterator[Behaviour], make_item: Maker) -> None:
        self._behaviours = behaviours
        self._make_item = make_item
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
        behaviour = next(self._behaviours)
        self.users.loop.elapse(behaviour.works)
        error = _error(behaviour, flush, len(batch))
        if behaviour.mutates:
            batch.reverse()
            batch.append(self._make_item())
        if error is not None and behaviour.early:
            raise error
        try:
            await self._work(behaviour, flush)
        except asyncio.CancelledError as cancelled:
            await self._die(behaviour, flush, cancelled)
        if error is not None:
            raise error

    async def _work(self, behaviour: Behaviour, flush: Flush) -> None:
        for _ in range(behaviour.steps):
            await asyncio.sleep(0)
        if behaviour.enters is not None and self._entries > 0:
            self._entries -= 1
            await self._enter(behaviour.enters, flush)
        if behaviour.seconds:
            await asyncio.sleep(behaviour.seconds)
        if behaviour.strikes and self._entries > 0:
            self._entries -= 1
            await self._strike(behaviour.strikes)

    async def _strike(self, times: int) -> None:
        """Have who waits for the end interrupted; the last time it steps right after this flush."""
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
        """Bring an item to the queue whose flush this is."""
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
        else:  # an orphan: a task of its own, for which nobody waits
            users.enter(f"orphan {flush.number}", lambda orphan: self._submit(orphan, flush.number))

    async def _submit(self, actor: Actor, seconds: float) -> None:
        """Submit an item, and await its receipt after so many seconds."""
        await self.users.submit(actor, self._make_item())
        if seconds:
            await asyncio.sleep(seconds)
        for receipt, call in actor.receipts:
            await self.users.wait(actor, receipt, call)

    async def _die(self, behaviour: Behaviour, flush: Flush, error: asyncio.CancelledError) -> None:
        if behaviour.dying == "die":
            raise error
        if behaviour.dying == "part":
            raise PartialFailure({0: ValueError(f"{flush}, dying")})
        if behaviour.dying == "raise":
            raise ValueError(f"{flush}, dying")
        await asyncio.sleep(1.0)
        if behaviour.dying == "linger":
            raise TimeoutError(f"{flush}, at last")


def _error(behaviour: Behaviour, flush: Flush, count: int) -> BaseException | None:
    if behaviour.error is None:
        return None
    if behaviour.partial is not None:
        return partial_failure(behaviour.partial, count)
    return behaviour.error(f"{flush}, {'early' if behaviour.early else 'late'}")
