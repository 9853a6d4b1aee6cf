"""Producers: one step after the other, until the queue refuses them for good."""

import asyncio
import contextlib
import reprlib
import sys
from collections.abc import Callable, Coroutine, Sequence

import attrs

from flushq import ItemTooLarge, QueueFull
from tests.sessions.actors import Actor
from tests.sessions.facts import Item
from tests.sessions.users import Refusal, Users


@attrs.frozen
class Step:
    """One step of a producer: what to do with which items, and how long to take."""

    what: str
    items: tuple[Item, ...] = attrs.field(default=(), repr=reprlib.repr)
    seconds: float = 0.0


async def produce(users: Users, actor: Actor, steps: Sequence[Step]) -> None:
    """Do the steps; an item that is refused is dropped, a queue that has ended is left."""
    for step in steps:
        refusal = await STEPS[step.what](users, actor, step)
        if refusal is not None and not isinstance(refusal, QueueFull | ItemTooLarge):
            return


async def _pause(users: Users, actor: Actor, step: Step) -> Refusal:
    await asyncio.sleep(step.seconds)
    return None


async def _work(users: Users, actor: Actor, step: Step) -> Refusal:
    """Keep the loop busy for so long."""
    users.loop.elapse(step.seconds)
    return None


async def _enqueue(users: Users, actor: Actor, step: Step) -> Refusal:
    refusal = None
    for item in step.items:
        refusal = await users.enqueue(actor, item) or refusal
    return refusal


async def _nowait(users: Users, actor: Actor, step: Step) -> Refusal:
    refusal = None
    for item in step.items:
        refusal = users.enqueue_nowait(actor, item) or refusal
    return refusal


async def _submit(users: Users, actor: Actor, step: Step) -> Refusal:
    refusal = None
    for item in step.items:
        refusal = await users.submit(actor, item) or refusal
    return refusal


async def _deliver(users: Users, actor: Actor, step: Step) -> Refusal:
    return await users.deliver(actor, step.items[0])


async def _await(users: Users, actor: Actor, step: Step) -> Refusal:
    """Await all receipts, one after the other."""
    while actor.receipts:
        await users.wait(actor, *actor.receipts.pop())
    return None


async def _await_for(users: Users, actor: Actor, step: Step) -> Refusal:
    """Await the last receipt, and lose patience."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(step.seconds):
            if actor.receipts:
                await users.wait(actor, *actor.receipts[-1])
    return None


async def _deliver_for(users: Users, actor: Actor, step: Step) -> Refusal:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(step.seconds):
            return await users.deliver(actor, step.items[0])
    return None


async def _timeout(users: Users, actor: Actor, step: Step) -> Refusal:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(step.seconds):
            return await users.enqueue(actor, step.items[0])
    return None


async def _wait_for(users: Users, actor: Actor, step: Step) -> Refusal:
    if sys.version_info < (3, 12) and actor.scope is not None:
        return await _timeout(users, actor, step)  # wait_for would swallow the actor's own timeout
    with contextlib.suppress(TimeoutError):
        return await asyncio.wait_for(users.enqueue(actor, step.items[0]), step.seconds)
    return None


async def _give_up(users: Users, actor: Actor, step: Step) -> Refusal:
    """Begin to wait for room, and close the coroutine some turns of the loop later."""
    return await _abandon(users.enqueue(actor, step.items[0], given_up=True), step)


async def _give_up_delivery(users: Users, actor: Actor, step: Step) -> Refusal:
    """The same, of one that waits until its item was delivered."""
    return await _abandon(users.deliver(actor, step.items[0], given_up=True), step)


async def _abandon(waiting: Coroutine[object, object, Refusal], step: Step) -> Refusal:
    try:
        waiting.send(None)
    except StopIteration as returned:
        refusal: Refusal = returned.value
        return refusal
    try:
        for _ in range(int(step.seconds)):
            await asyncio.sleep(0)
    finally:
        waiting.close()
    return None


STEPS: dict[str, Callable[[Users, Actor, Step], Coroutine[object, object, Refusal]]] = {
    "pause": _pause,
    "work": _work,
    "enqueue": _enqueue,
    "nowait": _nowait,
    "timeout": _timeout,
    "wait_for": _wait_for,
    "give up": _give_up,
    "submit": _submit,
    "await": _await,
    "await for": _await_for,
    "deliver": _deliver,
    "deliver for": _deliver_for,
    "give up delivery": _give_up_delivery,
}
