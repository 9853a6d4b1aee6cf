"""Producers: one step after the other, until the queue refuses them for good."""

import asyncio
import contextlib
import reprlib
import sys
from collections.abc import Callable, Coroutine, Sequence

import attrs

from flushq import FlushqError, ItemTooLarge, QueueFull
from tests.sessions.actors import Actor
from tests.sessions.cast import Cast
from tests.sessions.facts import Item

WAIT_FOR_IS_VAGUE = sys.version_info < (3, 12)

Refusal = FlushqError | None


@attrs.frozen
class Step:
    """One step of a producer: what to do with which items, and how long to take."""

    what: str
    items: tuple[Item, ...] = attrs.field(default=(), repr=reprlib.repr)
    seconds: float = 0.0


async def produce(cast: Cast, actor: Actor, steps: Sequence[Step]) -> None:
    """Do the steps; an item that is refused is dropped, a queue that has ended is left."""
    for step in steps:
        refusal = await STEPS[step.what](cast, actor, step)
        if refusal is not None and not isinstance(refusal, QueueFull | ItemTooLarge):
            return


async def _pause(cast: Cast, actor: Actor, step: Step) -> Refusal:
    await asyncio.sleep(step.seconds)
    return None


async def _work(cast: Cast, actor: Actor, step: Step) -> Refusal:
    """Keep the loop busy for so long."""
    cast.loop.elapse(step.seconds)
    return None


async def _enqueue(cast: Cast, actor: Actor, step: Step) -> Refusal:
    refusal = None
    for item in step.items:
        refusal = await cast.enqueue(actor, item) or refusal
    return refusal


async def _nowait(cast: Cast, actor: Actor, step: Step) -> Refusal:
    refusal = None
    for item in step.items:
        refusal = cast.enqueue_nowait(actor, item) or refusal
    return refusal


async def _submit(cast: Cast, actor: Actor, step: Step) -> Refusal:
    refusal = None
    for item in step.items:
        refusal = await cast.submit(actor, item) or refusal
    return refusal


async def _deliver(cast: Cast, actor: Actor, step: Step) -> Refusal:
    return await cast.deliver(actor, step.items[0])


async def _await(cast: Cast, actor: Actor, step: Step) -> Refusal:
    """Await all receipts, one after the other."""
    while actor.receipts:
        await cast.wait(actor, actor.receipts.pop())
    return None


async def _await_for(cast: Cast, actor: Actor, step: Step) -> Refusal:
    """Await the last receipt, and lose patience."""
    if actor.receipts:
        deadline = cast.loop.time() + step.seconds
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(step.seconds) as scope:
                await cast.wait(actor, actor.receipts[-1], scope=scope, deadline=deadline)
    return None


async def _deliver_for(cast: Cast, actor: Actor, step: Step) -> Refusal:
    deadline = cast.loop.time() + step.seconds
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(step.seconds) as scope:
            return await cast.deliver(actor, step.items[0], scope=scope, deadline=deadline)
    return None


async def _timeout(cast: Cast, actor: Actor, step: Step) -> Refusal:
    deadline = cast.loop.time() + step.seconds
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(step.seconds) as scope:
            return await cast.enqueue(actor, step.items[0], scope=scope, deadline=deadline)
    return None


async def _wait_for(cast: Cast, actor: Actor, step: Step) -> Refusal:
    if WAIT_FOR_IS_VAGUE and actor.scope is not None:
        return await _timeout(cast, actor, step)  # wait_for would swallow the actor's own timeout
    deadline = cast.loop.time() + step.seconds
    waiting = cast.enqueue(actor, step.items[0], deadline=deadline, vague=WAIT_FOR_IS_VAGUE)
    with contextlib.suppress(TimeoutError):
        return await asyncio.wait_for(waiting, step.seconds)
    return None


async def _give_up(cast: Cast, actor: Actor, step: Step) -> Refusal:
    """Begin to wait for room, and close the coroutine some turns of the loop later."""
    return await _abandon(cast.enqueue(actor, step.items[0], deadline=cast.loop.time()), step)


async def _give_up_delivery(cast: Cast, actor: Actor, step: Step) -> Refusal:
    """The same, of one that waits until its item was delivered."""
    return await _abandon(cast.deliver(actor, step.items[0], deadline=cast.loop.time()), step)


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


STEPS: dict[str, Callable[[Cast, Actor, Step], Coroutine[object, object, Refusal]]] = {
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
