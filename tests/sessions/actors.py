"""Actors: tasks with names, who come and are interrupted.

What an actor waits for can be seen, so whoever interrupts it tells the checker, in the same step,
whose call is being cancelled.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine

import attrs

from flushq import Receipt
from tests.sessions.checker import Checker
from tests.sessions.facts import Item
from tests.sessions.loop import SessionLoop
from tests.sessions.waiting import Waiting

WHO: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


class BodyError(Exception):
    """What the body of an owner raises."""


@attrs.define(eq=False)
class Actor:
    """A task with a name.

    Attributes:
        name: Its name.
        waiting: The call of the queue that it is in.
        scope: The asyncio.timeout by which it is cancelled, if it is not cancelled as a task.
        task: The task.
        receipts: Those that it has got.
    """

    name: str
    waiting: Waiting | None = None
    scope: asyncio.Timeout | None = None
    task: asyncio.Task[None] | None = None
    receipts: list[Receipt[Item]] = attrs.field(factory=list)

    @property
    def scopes(self) -> tuple[asyncio.Timeout, ...]:
        """The same, if there is one."""
        return () if self.scope is None else (self.scope,)

    @property
    def done(self) -> bool:
        """Whether it has played its part."""
        return self.task is not None and self.task.done()


Play = Callable[[Actor], Coroutine[object, object, None]]


class Actors:
    """All actors around one queue.

    Attributes:
        actors: All that have entered, by name.
    """

    def __init__(self, loop: SessionLoop, checker: Checker) -> None:
        self.loop = loop
        self.checker = checker
        self.actors: dict[str, Actor] = {}

    def enter(
        self,
        name: str,
        play: Play,
        *,
        timed: bool = False,
        group: asyncio.TaskGroup | None = None,
    ) -> Actor:
        """Let an actor play; ``timed``: to interrupt it is to let an asyncio.timeout expire."""
        actor = self.actors[name] = Actor(name)
        played = self._timed(actor, play) if timed else play(actor)
        context = contextvars.copy_context()
        context.run(WHO.set, name)
        create_task = self.loop.create_task if group is None else group.create_task
        actor.task = create_task(played, name=name, context=context)
        return actor

    def interrupt(self, actor: Actor) -> None:
        """Cancel an actor, or let its timeout expire."""
        if actor.task is None or actor.done or (actor.scope and actor.scope.expired()):
            return
        if actor.scope is None:
            self._tell_of_interruption(actor)
            actor.task.cancel()
        else:  # the timeout cancels it in a callback: the one after this
            self.loop.call_soon(self._tell_of_interruption, actor)
            actor.scope.reschedule(self.loop.time())

    def _tell_of_interruption(self, actor: Actor) -> None:
        self.checker.history.note(actor.name, "is being cancelled")
        if actor.waiting is not None:
            self.checker.interrupt(actor.waiting)

    async def _timed(self, actor: Actor, play: Play) -> None:
        scope = actor.scope = asyncio.timeout(None)
        try:
            async with scope:
                await play(actor)
        except TimeoutError:
            if not scope.expired():
                raise
        else:
            if scope.expired():
                self.checker.history.complain(11, f"{actor.name} got no TimeoutError")
