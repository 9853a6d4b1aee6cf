"""The flush function and its faults."""

import abc
import asyncio
import contextlib
from collections.abc import Callable, Iterator

import attrs

from flushq import PartialFailure
from tests.sessions.actors import WHO, Actor
from tests.sessions.cast import Cast
from tests.sessions.deeds import Deed, partial_failure
from tests.sessions.facts import Flight, Item
from tests.sessions.poison import Poison
from tests.sessions.waiting import Closer

Maker = Callable[[], Item]


class ObservedSink(abc.ABC):
    """A flush function that tells the checker."""

    cast: Cast

    async def __call__(self, batch: list[Item]) -> None:
        """Take a batch."""
        checker = self.cast.checker
        flight = checker.sink_called(batch, WHO.get())
        WHO.set("sink")
        error: BaseException | None = None
        try:
            await self.work(flight, batch)
        except BaseException as raised:
            error = raised
            raise
        finally:
            checker.sink_ended(flight, error)

    @abc.abstractmethod
    async def work(self, flight: Flight, batch: list[Item]) -> None:
        """Do what a flush does."""


class Sink(ObservedSink):
    """A flush function that does one deed after the other.

    Args:
        deeds: What it does.
        make_item: Makes the items that it enqueues itself.
        poison: How it fails with the items that are poisoned, if any are.
    """

    def __init__(
        self,
        deeds: Iterator[Deed],
        make_item: Maker,
        poison: str | None = None,
        most_entries: int = 6,
    ) -> None:
        self._deeds = deeds
        self._make_item = make_item
        self._poison = Poison(poison)
        self._entries = most_entries
        self._again: dict[Flight, Deed] = {}

    async def work(self, flight: Flight, batch: list[Item]) -> None:
        """Do the next deed, or the last one again."""
        deed = self._again.pop(flight, None) or next(self._deeds)
        if deed.fails > 1:
            self._again[flight] = attrs.evolve(deed, fails=deed.fails - 1)
        await self._do(deed, flight, batch)

    async def _do(self, deed: Deed, flight: Flight, batch: list[Item]) -> None:
        self.cast.loop.elapse(deed.works)
        error = self._error(deed, flight, batch)
        if deed.mutates:
            batch.reverse()
            batch.append(self._make_item())
        if error is not None and deed.early:
            raise error
        try:
            await self._work(deed, flight)
        except asyncio.CancelledError as cancelled:
            self.cast.checker.cancelled("sink", flight)
            await self._die(deed, flight, cancelled)
        if error is not None:
            raise error

    def _error(self, deed: Deed, flight: Flight, batch: list[Item]) -> BaseException | None:
        poisoning = self._poison.error(batch)
        if poisoning is not None or deed.error is None:
            return poisoning
        if deed.partial is not None:
            return partial_failure(deed.partial, len(batch))
        return deed.error(f"{flight}, {'early' if deed.early else 'late'}")

    async def _work(self, deed: Deed, flight: Flight) -> None:
        for _ in range(deed.steps):
            await asyncio.sleep(0)
        if deed.enters is not None and self._entries > 0:
            self._entries -= 1
            await self._enter(deed.enters, flight)
        if deed.seconds:
            await asyncio.sleep(deed.seconds)
        if deed.strikes and self._entries > 0:
            self._entries -= 1
            await self._strike(deed.strikes, flight)

    async def _strike(self, times: int, flight: Flight) -> None:
        """Have who waits for the end interrupted; the last time it steps right after this flush."""
        for pause in range(times - 1, -1, -1):
            self.cast.loop.call_soon(self._interrupt_closer)
            for _ in range(3 * pause + 1):
                await asyncio.sleep(0)
        self.cast.enqueue_nowait(Actor("sink"), self._make_item(), flight)

    def _interrupt_closer(self) -> None:
        actors = self.cast.actors
        closers = [actor for actor in actors.values() if isinstance(actor.waiting, Closer)]
        self.cast.interrupt(closers[0] if closers else actors["owner"])

    async def _enter(self, way: str, flight: Flight) -> None:
        """Enqueue to the queue whose flush this is."""
        actor = Actor("sink")
        if way == "nowait":
            self.cast.enqueue_nowait(actor, self._make_item(), flight)
        elif way == "plain":
            await self.cast.enqueue(actor, self._make_item(), inside=flight)
        elif way == "gather":
            items = self._make_item(), self._make_item()
            await asyncio.gather(*(self.cast.enqueue(actor, i, inside=flight) for i in items))
        elif way == "timeout":
            await self._enter_for(0.5, actor, flight)
        elif way == "deliver":
            await self.cast.deliver(actor, self._make_item(), inside=flight)
        elif way == "submit":
            await self.cast.submit(actor, self._make_item(), inside=flight)
            for receipt in actor.receipts:
                await self.cast.wait(actor, receipt, inside=flight)
        else:
            self._send_orphan(flight)

    async def _enter_for(self, seconds: float, actor: Actor, flight: Flight) -> None:
        deadline = self.cast.loop.time() + seconds
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds) as scope:
                item = self._make_item()
                await self.cast.enqueue(actor, item, inside=flight, scope=scope, deadline=deadline)

    def _send_orphan(self, flight: Flight) -> None:
        """Let a task of its own bring an item, and do not wait for it."""

        async def play(orphan: Actor) -> None:
            await self.cast.submit(orphan, self._make_item(), inside=flight)
            await asyncio.sleep(flight.number)
            for receipt in orphan.receipts:
                await self.cast.wait(orphan, receipt, inside=flight)

        self.cast.enter(f"orphan {flight.number}", play)

    async def _die(self, deed: Deed, flight: Flight, error: asyncio.CancelledError) -> None:
        if deed.dying == "die":
            raise error
        if deed.dying == "part":
            raise PartialFailure({0: ValueError(f"{flight}, dying")})
        if deed.dying == "raise":
            raise ValueError(f"{flight}, dying")
        try:
            await asyncio.sleep(1.0)
        except asyncio.CancelledError:
            self.cast.checker.cancelled("sink", flight)
            raise
        if deed.dying == "linger":
            raise TimeoutError(f"{flight}, at last")
