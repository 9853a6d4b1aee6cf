"""The cast around one queue: its actors, and each call of the queue, observed."""

import asyncio
import math
from collections.abc import Awaitable, Callable

from flushq import FlushqError, QueueEnded
from tests.sessions.actors import Actor, BodyError
from tests.sessions.facts import Flight, Item
from tests.sessions.submitters import Submitters
from tests.sessions.waiting import Call, Closer


class Cast(Submitters):
    """Whoever enqueues, flushes, closes and owns."""

    async def enqueue(
        self,
        actor: Actor,
        item: Item,
        *,
        inside: Flight | None = None,
        scope: asyncio.Timeout | None = None,
        deadline: float = math.inf,
        vague: bool = False,
    ) -> FlushqError | None:
        """Enqueue an item, and return why it was refused if it was."""
        scopes = actor.scopes if scope is None else (*actor.scopes, scope)
        call = Call(
            who=actor.name, item=item, scopes=scopes, inside=inside, deadline=deadline, vague=vague
        )
        actor.waiting = call
        self.checker.enqueue_called(call)
        try:
            await self.queue.enqueue(item)
        except BaseException as error:
            self.checker.enqueue_refused(call, error)
            if isinstance(error, FlushqError):
                return error
            raise
        finally:
            actor.waiting = None
        self.checker.enqueue_accepted(call)
        return None

    def enqueue_nowait(
        self, actor: Actor, item: Item, inside: Flight | None = None
    ) -> FlushqError | None:
        """Enqueue an item at once, and return why it was refused if it was."""
        call = Call(who=actor.name, item=item, nowait=True, inside=inside)
        self.checker.enqueue_called(call)
        try:
            self.queue.enqueue_nowait(item)
        except FlushqError as error:
            self.checker.enqueue_refused(call, error)
            return error
        self.checker.enqueue_accepted(call)
        return None

    async def flush(self, actor: Actor) -> None:
        """Wait at a barrier."""
        barrier = self.checker.flush_called(actor.name, actor.scopes)
        actor.waiting = barrier
        try:
            await self.queue.flush()
        except BaseException as error:
            self.checker.flush_ended(barrier, error)
            if not isinstance(error, FlushqError):
                raise
        else:
            self.checker.flush_ended(barrier, None)
        finally:
            actor.waiting = None

    async def aclose(self, actor: Actor) -> None:
        """Close the queue."""
        await self._wait_for_end(actor, "aclose", self.queue.aclose())

    async def run(self, actor: Actor) -> None:
        """Run the queue."""
        await self._wait_for_end(actor, "run", self.queue.run())

    async def _wait_for_end(self, actor: Actor, kind: str, end: Awaitable[None]) -> None:
        closer = Closer(who=actor.name, scopes=actor.scopes, kind=kind)
        actor.waiting = self.checker.closer_called(closer)
        try:
            await end
        except BaseException as error:
            self.checker.closer_ended(closer, error)
            if not isinstance(error, QueueEnded):
                raise
        else:
            self.checker.closer_ended(closer, None)
        finally:
            actor.waiting = None

    async def own(self, actor: Actor, body: Callable[[], Awaitable[object]]) -> None:
        """Own the queue, by ``async with``, for as long as the body takes."""
        closer = Closer(who=actor.name, scopes=actor.scopes, kind="async with")
        try:
            async with self.queue:
                self.checker.queue_started(actor.name)
                try:
                    await body()
                except BaseException as error:
                    closer.body_error = error
                    raise
                finally:
                    actor.waiting = self.checker.closer_called(closer)
        except BaseException as error:
            if actor.waiting is None:
                self.checker.start_refused(actor.name, error)
                return
            self.checker.closer_ended(closer, error)
            if not isinstance(error, QueueEnded | BodyError):
                raise
        else:
            self.checker.closer_ended(closer, None)
        finally:
            actor.waiting = None
