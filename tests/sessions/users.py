"""The users of a queue: each of their calls, mirrored."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from flushq import FlushqError, ItemTooLarge, QueueEnded, Receipt
from tests.core_sessions.driver import Caller
from tests.core_sessions.model import ACCEPTED, CANCELLED, Call
from tests.sessions.actors import Actor, Actors, BodyError
from tests.sessions.facts import Item
from tests.sessions.history import History
from tests.sessions.mirror import CURRENT, Mirror, Mirrored, MirroredQueue

Refusal = FlushqError | None
"""Why an item was refused; None: it was not."""


class Users(Actors):
    """Who enqueues, flushes, closes and owns.

    Attributes:
        receipts: All that were given, each with the call that has brought the item.
        started_by: Who has started the queue.
        notes: How many exceptions carry a note of what was lost.
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
        """Enqueue an item; ``given_up``: to cancel the task is not to cancel this call."""
        call, caller = self._come(actor, "enqueue", item)
        self._model.enter(call)
        return await self._bring(actor, call, caller, self.queue.enqueue(item), given_up=given_up)

    def enqueue_nowait(self, actor: Actor, item: Item) -> Refusal:
        """Enqueue an item at once."""
        call, caller = self._come(actor, "enqueue_nowait", item)
        self._model.enter(call)
        try:
            self.queue.enqueue_nowait(item)
        except FlushqError as error:
            caller.error = error
        caller.done, caller.accepted = True, caller.error is None
        self._leave(actor, call, caller)
        return caller.error if isinstance(caller.error, FlushqError) else None

    async def submit(self, actor: Actor, item: Item) -> Refusal:
        """Submit an item, and keep the receipt."""
        call, caller = self._come(actor, "submit", item)
        self._model.enter(call)

        async def submit() -> None:
            receipt = await self.queue.submit(item)
            caller.completion = receipt._completion  # noqa: SLF001 - it tells of the end
            self._keep(actor, receipt, call)

        return await self._bring(actor, call, caller, submit())

    def _keep(self, actor: Actor, receipt: Receipt[Item], call: Call) -> None:
        """Those who have submitted the same item have the same receipt."""
        if self._receipt_of.setdefault(call.entry, receipt) is not receipt:
            self.mirror.complain(19, f"there are two receipts of {call.item}")
        self.receipts.append((receipt, call))
        actor.receipts.append((receipt, call))

    async def deliver(self, actor: Actor, item: Item, *, given_up: bool = False) -> Refusal:
        """Deliver an item."""
        if self._is_inside:
            await self._be_refused(self.queue.deliver(item))
            return None
        call, caller = self._come(actor, "deliver", item)
        self._model.enter(call)

        def accept(stays: Item) -> None:
            caller.accepted = True
            if call.entry is None or stays is not call.entry.item:
                self.mirror.complain(16, f"{item} is told that {stays} stays")

        steps = self.queue.deliver(item, on_accepted=accept)
        return await self._bring(actor, call, caller, steps, given_up=given_up)

    async def _bring(
        self,
        actor: Actor,
        call: Call,
        caller: Caller,
        steps: Coroutine[Any, Any, None],
        *,
        given_up: bool = False,
    ) -> Refusal:
        try:
            await self._mirrored(call, caller, steps, given_up=given_up)
        except FlushqError as error:
            return error
        else:
            caller.accepted = True
        finally:
            self._leave(actor, call, caller)
        return None

    async def wait(self, actor: Actor, receipt: Receipt[Item], brought: Call) -> None:
        """Await a receipt."""
        assert brought.entry is not None
        if self._is_inside and brought.entry.answer is None:
            await self._be_refused(receipt)
            return
        call, caller = self._come(actor, "read", brought.item)
        call.entry = brought.entry
        self._model.read(call)
        with contextlib.suppress(FlushqError):
            await self._wait(actor, call, caller, _awaited(receipt))

    # The end.

    async def flush(self, actor: Actor) -> None:
        """Wait at a barrier."""
        call, caller = self._come(actor, "flush")
        self._model.flush(call)
        with contextlib.suppress(FlushqError):
            await self._wait(actor, call, caller, self.queue.flush())

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
        call, caller = self._come(actor, kind)
        self.started_by = self.started_by or actor.name
        self._model.wait_for_end(call)
        actor.closes = True
        try:
            await self._mirrored(call, caller, end())
        except QueueEnded:
            pass
        finally:
            actor.closes = False
            waited = self._model.ended and (call.aborts or body_error is not None)
            is_bad = waited and self._model.last_word() != ACCEPTED
            if body_error is not None and call.answer != CANCELLED:
                call.answer = ACCEPTED
            self._leave(actor, call, caller)
            self._check_note(caller.error or body_error, is_bad=is_bad)

    def _check_note(self, error: BaseException | None, *, is_bad: bool) -> None:
        """A loss beside another exception is told in a note, once."""
        notes = len(getattr(error, "__notes__", ()))
        other = error is not None and not isinstance(error, QueueEnded)
        if notes != (is_bad and other):
            self.mirror.complain(11, f"{error!r} has {notes} notes")
        self.notes += notes

    # One call.

    @property
    def _is_inside(self) -> bool:
        """Whether the caller is part of a flush that runs."""
        flush = CURRENT.get()
        return flush is not None and flush.runs and flush.flight in self._model.running

    async def _be_refused(self, steps: Awaitable[None]) -> None:
        """What would wait for the flush that it is a part of is refused."""
        try:
            await steps
        except RuntimeError as error:
            if not isinstance(error, FlushqError):
                return
        self.mirror.complain(14, "a flush waits for itself")

    def _come(self, actor: Actor, kind: str, item: Item | None = None) -> tuple[Call, Caller]:
        """Somebody begins a call."""
        self.history.note(actor.name, kind, item)
        self.mirror.keep_time()
        flush = CURRENT.get()
        call, caller = Call(kind, item, None if flush is None else flush.flight), Caller()
        self.mirror.register(caller, call)
        return call, caller

    async def _wait(
        self, actor: Actor, call: Call, caller: Caller, steps: Coroutine[Any, Any, None]
    ) -> None:
        try:
            await self._mirrored(call, caller, steps)
        finally:
            self._leave(actor, call, caller)

    async def _mirrored(
        self,
        call: Call,
        caller: Caller,
        steps: Coroutine[Any, Any, None],
        *,
        given_up: bool = False,
    ) -> None:
        task = None if given_up else asyncio.current_task()
        await Mirrored(self.mirror, call, caller, steps, task)

    def _leave(self, actor: Actor, call: Call, caller: Caller) -> None:
        """The call has ended; which number a call returns is seen of no asyncio queue."""
        self.history.note(actor.name, f"  ended {call.kind}", call.item, caller.error)
        caller.value = call.answer[1] if call.answer is not None else None
        if isinstance(caller.error, ItemTooLarge):
            self.mirror.note_burst()
        self.mirror.compare()


async def _awaited(receipt: Receipt[Item]) -> None:
    await receipt
