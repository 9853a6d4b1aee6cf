"""Actors: tasks with names, which can be cancelled."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine

import attrs

from flushq import Receipt
from tests.core_sessions.calls import Call
from tests.sessions.facts import Item
from tests.sessions.loop import SessionLoop

WHO: contextvars.ContextVar[str] = contextvars.ContextVar("WHO", default="nobody")


class BodyError(Exception):
    """The exception that the body of an owner raises."""


@attrs.define(eq=False)
class Actor:
    """A task with a name.

    Attributes:
        closes: Whether the actor waits for the end of the queue.
        scope: The asyncio.timeout that cancels the actor; None if its task is cancelled instead.
        receipts: The receipts of this actor, each with the call that submitted the item.
    """

    name: str
    closes: bool = False
    scope: asyncio.Timeout | None = None
    task: asyncio.Task[None] | None = None
    receipts: list[tuple[Receipt[Item], Call]] = attrs.field(factory=list)

    @property
    def done(self) -> bool:
        """Whether the task of this actor has ended."""
        return self.task is not None and self.task.done()


Script = Callable[[Actor], Coroutine[object, object, None]]


class Actors:
    """All actors that use one queue.

    Attributes:
        actors: All actors that were started, by name.
    """

    def __init__(self, loop: SessionLoop) -> None:
        self.loop = loop
        self.actors: dict[str, Actor] = {}

    def enter(
        self,
        name: str,
        script: Script,
        *,
        timed: bool = False,
        group: asyncio.TaskGroup | None = None,
    ) -> Actor:
        """Start an actor; with ``timed``, an expired asyncio.timeout interrupts it."""
        actor = self.actors[name] = Actor(name)
        played = _timed(actor, script) if timed else script(actor)
        context = contextvars.copy_context()
        context.run(WHO.set, name)
        create_task = self.loop.create_task if group is None else group.create_task
        actor.task = create_task(played, name=name, context=context)
        return actor

    def interrupt(self, actor: Actor) -> None:
        """Cancel the task of an actor, or let its asyncio.timeout expire."""
        if actor.task is None or actor.done or (actor.scope and actor.scope.expired()):
            return
        if actor.scope is None:
            actor.task.cancel()
        else:
            actor.scope.reschedule(self.loop.time())


async def _timed(actor: Actor, script: Script) -> None:
    scope = actor.scope = asyncio.timeout(None)
    try:
        async with scope:
            await script(actor)
    except TimeoutError:
        if not scope.expired():
            raise
    else:
        assert not scope.expired(), "an expired timeout did not raise TimeoutError"
