"""Those who want to know what becomes of their items: submit, deliver, and who awaits a receipt."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from functools import partial

from flushq import FlushqError, FlushQueue, Receipt
from tests.sessions.actors import Actor, Actors
from tests.sessions.checker import Checker
from tests.sessions.facts import Flight, Item
from tests.sessions.loop import SessionLoop
from tests.sessions.waiting import Call, Wait, Waiting


class SubmittingQueue(FlushQueue[Item]):
    """A queue that tells when an item was accepted: else nobody could see it of deliver()."""

    on_submitted: Callable[[Item, Receipt[Item]], None]
    on_brought: Callable[[Item], None]

    async def submit(self, item: Item) -> Receipt[Item]:
        """Wait for room and accept the item; return its receipt."""
        receipt = await super().submit(item)
        self.on_submitted(item, receipt)
        return receipt

    async def deliver(
        self, item: Item, *, on_accepted: Callable[[Item], object] | None = None
    ) -> None:
        """Deliver the item, and tell when it was accepted."""
        await super().deliver(item, on_accepted=on_accepted or partial(self._accepted, item))

    def _accepted(self, item: Item, _: Item) -> None:
        self.on_brought(item)


class Submitters(Actors):
    """Each call of submit and deliver, and each receipt that is awaited, observed.

    Attributes:
        receipts: All that were given.
    """

    def __init__(self, loop: SessionLoop, checker: Checker, queue: SubmittingQueue) -> None:
        super().__init__(loop, checker)
        self.queue = queue
        self.receipts: list[Receipt[Item]] = []
        self._submitting: dict[Item, tuple[Actor, Call]] = {}
        queue.on_submitted = self._submitted
        queue.on_brought = self._on_brought

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

    def _on_brought(self, item: Item) -> None:
        actor, call = self._submitting.pop(item)
        stays = self.checker.enqueue_accepted(call)
        self._begin_to_wait(actor, stays, call.scopes, call.inside, call.deadline)

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
        wait = self._begin_to_wait(actor, receipt.item, scopes, inside, deadline)
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
        item: Item,
        scopes: tuple[asyncio.Timeout, ...],
        inside: Flight | None,
        deadline: float,
    ) -> Wait:
        wait = Wait(who=actor.name, item=item, scopes=scopes, inside=inside, deadline=deadline)
        actor.waiting = wait
        self.checker.receipt_awaited(wait)
        return wait
