"""The users of a queue: each of their calls, mirrored."""

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from flushq import FlushqError, QueueEnded, Receipt
from tests.core_sessions.calls import ACCEPTED, CANCELLED, Call
from tests.sessions.actors import Actor, Actors, BodyError
from tests.sessions.facts import Item
from tests.sessions.history import History
from tests.sessions.merges import MISTAKES
from tests.sessions.mirror import CURRENT, Mirror
from tests.sessions.mirrored import MirroredQueue, Visit

Refusal = Exception | None
"""The exception with which an item was refused; None if the item was accepted."""

BRINGING = {"enqueue", "enqueue_nowait", "submit"}
"""The calls that return when an item was accepted."""


class Users(Actors):
    """The users of a queue, who enqueue, flush, close and own it.

    Attributes:
        receipts: All receipts, each with the call that submitted the item.
        started_by: The name of the actor that started the queue.
        notes: How many exceptions have a note about lost items.
    """

    def __init__(self, mirror: Mirror, queue: MirroredQueue, history: History) -> None:
        super().__init__(mirror.loop)
        self.mirror = mirror
        self.queue = queue
        self.history = history
        self.receipts: list[tuple[Receipt[Item], Call]] = []
        self.started_by: str | None = None
        self.notes = 0
        self._model = mirror.model
        self._receipt_of: dict[object, Receipt[Item]] = {}

    # Items.

    async def enqueue(self, actor: Actor, item: Item, *, given_up: bool = False) -> Refusal:
        """Enqueue an item; with ``given_up``, cancelling the task does not cancel this call."""
        visit = self._come(actor, "enqueue", item)
        self._model.enter(visit.call)
        return await self._take(visit, self.queue.enqueue(item), given_up=given_up)

    def enqueue_nowait(self, actor: Actor, item: Item) -> Refusal:
        """Enqueue an item without waiting."""
        visit, refusal = self._come(actor, "enqueue_nowait", item), None
        self._model.enter(visit.call)
        try:
            self.queue.enqueue_nowait(item)
        except (FlushqError, *MISTAKES) as error:
            refusal = visit.caller.error = error
        visit.caller.done = True
        self._leave(visit)
        return refusal

    async def submit(self, actor: Actor, item: Item) -> Refusal:
        """Submit an item, and keep the receipt."""
        visit = self._come(actor, "submit", item)
        self._model.enter(visit.call)

        async def submit() -> None:
            receipt = await self.queue.submit(item)
            visit.caller.completion = receipt._completion  # noqa: SLF001 - it tells of the end
            self._keep(actor, receipt, visit.call)

        return await self._take(visit, submit())

    def _keep(self, actor: Actor, receipt: Receipt[Item], call: Call) -> None:
        """Keep a receipt; complain unless all submitters of the item get this same receipt."""
        if call.entry is None or receipt.item != call.entry.item:
            self.mirror.complain(19, f"the receipt of {call.item} is that of {receipt.item}")
        if self._receipt_of.setdefault(call.entry, receipt) is not receipt:
            self.mirror.complain(19, f"there are two receipts of {call.item}")
        self.receipts.append((receipt, call))
        actor.receipts.append((receipt, call))

    async def deliver(self, actor: Actor, item: Item, *, given_up: bool = False) -> Refusal:
        """Deliver an item."""
        if self._is_inside:
            await self._be_refused(self.queue.deliver(item))
            return None
        visit = self._come(actor, "deliver", item)
        self._model.enter(visit.call)

        def accept(stays: Item) -> None:
            visit.caller.accepted = True
            if visit.call.entry is None or stays != visit.call.entry.item:
                self.mirror.complain(16, f"{item} is told that {stays} waits, which is wrong")

        steps = self.queue.deliver(item, on_accepted=accept)
        return await self._take(visit, steps, given_up=given_up)

    async def wait(self, actor: Actor, receipt: Receipt[Item], brought: Call) -> None:
        """Await a receipt."""
        assert brought.entry is not None
        has_ended = brought.entry.answer is not None
        if receipt.done() != has_ended:
            self.mirror.complain(19, f"the receipt of {receipt.item}: done() is {receipt.done()}")
        if self._is_inside and not has_ended:
            await self._be_refused(receipt)
            return
        visit = self._come(actor, "read", brought.item)
        visit.call.entry = brought.entry
        self._model.read(visit.call)
        await self._take(visit, receipt)

    # The end.

    async def flush(self, actor: Actor) -> None:
        """Call ``flush()``, which waits at a barrier."""
        visit = self._come(actor, "flush")
        self._model.flush(visit.call)
        await self._take(visit, self.queue.flush())

    async def aclose(self, actor: Actor) -> None:
        """Close the queue."""
        await self._wait_for_end(actor, "aclose", self.queue.aclose)

    async def run(self, actor: Actor) -> None:
        """Run the queue."""
        await self._wait_for_end(actor, "run", self.queue.run)

    async def own(self, actor: Actor, body: Callable[[], Awaitable[object]]) -> None:
        """Own the queue, by ``async with``, for as long as the body takes."""
        try:
            await self.queue.__aenter__()
        except RuntimeError as error:
            self.history.note(actor.name, "did not start the queue", error)
            if not self._model.ending:
                self.mirror.complain(17, f"{actor.name} got {error!r}")
            return
        self._model.start()
        self.started_by = self.started_by or actor.name
        failure: BaseException | None = None
        try:
            await body()
        except BaseException as raised:
            failure = raised
        leave = partial(self.queue.__aexit__, None, failure, None)
        await self._wait_for_end(actor, "leave", leave, failure)
        if failure is not None and not isinstance(failure, BodyError):
            raise failure

    async def _wait_for_end(
        self,
        actor: Actor,
        kind: str,
        end: Callable[[], Coroutine[Any, Any, None]],
        body_error: BaseException | None = None,
    ) -> None:
        visit = self._come(actor, kind)
        call = visit.call
        self.started_by = self.started_by or actor.name
        self._model.wait_for_end(call)
        actor.closes = True
        try:
            await visit.take(end())
        except QueueEnded:
            pass
        finally:
            actor.closes = False
            waited = self._model.ended and (call.aborts or body_error is not None)
            is_bad = waited and self._model.last_word() != ACCEPTED
            if body_error is not None and call.answer != CANCELLED:
                call.answer = ACCEPTED
            self._leave(visit)
            self._check_note(visit.caller.error or body_error, is_bad=is_bad)

    def _check_note(self, error: BaseException | None, *, is_bad: bool) -> None:
        """Complain unless a loss is noted once on an exception that does not itself tell it."""
        notes = len(getattr(error, "__notes__", ()))
        other = error is not None and not isinstance(error, QueueEnded)
        if notes != (is_bad and other):
            self.mirror.complain(11, f"{error!r} has {notes} notes")
        self.notes += notes

    # One call.

    @property
    def _is_inside(self) -> bool:
        """Whether the caller is a part of a flush that runs."""
        flush = CURRENT.get()
        return flush is not None and flush.runs and flush.flight in self._model.running

    async def _be_refused(self, steps: Awaitable[None]) -> None:
        """Complain unless a call that would wait for its own flush raises RuntimeError."""
        try:
            await steps
        except RuntimeError as error:
            if not isinstance(error, FlushqError):
                return
        self.mirror.complain(14, "a flush waits for itself")

    def _come(self, actor: Actor, kind: str, item: Item | None = None) -> Visit:
        """Begin a call of an actor."""
        self.history.note(actor.name, kind, item)
        self.mirror.keep_time()
        flush = CURRENT.get()
        call = Call(kind, item, None if flush is None else flush.flight)
        visit = Visit(self.mirror, actor.name, call)
        self.mirror.register(visit.caller, visit.call)
        return visit

    async def _take(
        self, visit: Visit, steps: Awaitable[None], *, given_up: bool = False
    ) -> Refusal:
        """Take the steps of a call; return the exception if it was refused."""
        try:
            await visit.take(steps, given_up=given_up)
        except (FlushqError, *MISTAKES) as error:
            return error
        finally:
            self._leave(visit)
        return None

    def _leave(self, visit: Visit) -> None:
        """Note that a call has ended; copy the number of its item, which asyncio does not show."""
        call, caller = visit.call, visit.caller
        self.history.note(visit.who, f"  ended {call.kind}", call.item, caller.error)
        caller.value = call.answer[1] if call.answer is not None else None
        caller.accepted |= caller.error is None and call.kind in BRINGING
        if isinstance(caller.error, MISTAKES):
            self.mirror.note_burst()
        self.mirror.compare()
