"""Actors around one queue: each call of the queue, observed.

An actor is a task with a name. What it waits for can be seen, so whoever interrupts it tells the
checker, in the same step, whose call is being cancelled.
"""

import asyncio
import contextvars
import math
from collections.abc import Awaitable, Callable, Coroutine

import attrs

from flushq import FlushqError, FlushQueue, QueueEnded
from flushq.receipts import Receipt
from tests.sessions.checker import Checker
from tests.sessions.facts import Call, Closer, Flight, Item, Wait, Waiting
from tests.sessions.loop import SessionLoop

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


class SubmittingQueue(FlushQueue[Item]):
    """A queue that tells when an item was submitted: else nobody could see it of deliver()."""

    on_submitted: Callable[[Item, Receipt[Item]], None]

    async def submit(self, item: Item) -> Receipt[Item]:
        """Wait for room and accept the item; return its receipt."""
        receipt = await super().submit(item)
        self.on_submitted(item, receipt)
        return receipt


class Cast:
    """All actors around one queue.

    Attributes:
        actors: All that have entered, by name.
        receipts: All that were given.
    """

    def __init__(self, loop: SessionLoop, checker: Checker, queue: SubmittingQueue) -> None:
        self.loop = loop
        self.checker = checker
        self.queue = queue
        self.actors: dict[str, Actor] = {}
        self.receipts: list[Receipt[Item]] = []
        self._submitting: dict[Item, tuple[Actor, Call]] = {}
        queue.on_submitted = self._submitted

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

    # Calls of the queue.

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

    async def submit(
        self, actor: Actor, item: Item, *, inside: Flight | None = None
    ) -> FlushqError | None:
        """Submit an item, and keep the receipt; return why it was refused if it was."""
        call = Call(who=actor.name, item=item, scopes=actor.scopes, inside=inside)
        return await self._bring(actor, call, self.queue.submit)

    async def deliver(
        self,
        actor: Actor,
        item: Item,
        *,
        inside: Flight | None = None,
        scope: asyncio.Timeout | None = None,
        deadline: float = math.inf,
    ) -> FlushqError | None:
        """Deliver an item, and return why it was refused if it was."""
        scopes = actor.scopes if scope is None else (*actor.scopes, scope)
        call = Call(
            who=actor.name,
            item=item,
            scopes=scopes,
            inside=inside,
            deadline=deadline,
            delivers=True,
        )
        return await self._bring(actor, call, self.queue.deliver)

    async def _bring(
        self, actor: Actor, call: Call, bring: Callable[[Item], Awaitable[object]]
    ) -> FlushqError | None:
        self._submitting[call.item] = actor, call
        actor.waiting = call
        self.checker.enqueue_called(call)
        try:
            await bring(call.item)
        except BaseException as error:
            refusal = self._brought(actor.waiting, error)
            if not isinstance(error, FlushqError) and type(error) is not RuntimeError:
                raise
            return refusal
        finally:
            self._submitting.pop(call.item, None)
            waiting, actor.waiting = actor.waiting, None
        self._brought(waiting, None)
        return None

    def _brought(self, waiting: Waiting | None, error: BaseException | None) -> FlushqError | None:
        """A call has ended, of submit or deliver; return why the item was refused if it was."""
        if isinstance(waiting, Wait):
            self.checker.receipt_told(waiting, error)
        elif isinstance(waiting, Call) and error is not None:
            self.checker.enqueue_refused(waiting, error)
            return error if isinstance(error, FlushqError) else None
        return None

    def _submitted(self, item: Item, receipt: Receipt[Item]) -> None:
        actor, call = self._submitting.pop(item)
        self.checker.receipts.given(self.checker.enqueue_accepted(call), receipt)
        self.receipts.append(receipt)
        actor.receipts.append(receipt)
        if call.delivers:
            self._begin_to_wait(actor, receipt, call.scopes, call.inside, call.deadline)

    async def wait(
        self,
        actor: Actor,
        receipt: Receipt[Item],
        *,
        inside: Flight | None = None,
        scope: asyncio.Timeout | None = None,
        deadline: float = math.inf,
    ) -> None:
        """Await a receipt."""
        scopes = actor.scopes if scope is None else (*actor.scopes, scope)
        wait = self._begin_to_wait(actor, receipt, scopes, inside, deadline)
        try:
            await receipt
        except BaseException as error:
            self.checker.receipt_told(wait, error)
            if not isinstance(error, FlushqError) and type(error) is not RuntimeError:
                raise
        else:
            self.checker.receipt_told(wait, None)
        finally:
            actor.waiting = None

    def _begin_to_wait(
        self,
        actor: Actor,
        receipt: Receipt[Item],
        scopes: tuple[asyncio.Timeout, ...],
        inside: Flight | None,
        deadline: float,
    ) -> Wait:
        wait = Wait(
            who=actor.name, item=receipt.item, scopes=scopes, inside=inside, deadline=deadline
        )
        actor.waiting = wait
        self.checker.receipt_awaited(wait)
        return wait

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
