"""Producers: they do one step after the other, until the queue has ended."""

import asyncio
import contextlib
import reprlib
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import attrs

from flushq import QueueFull
from tests.sessions.actors import Actor
from tests.sessions.facts import Item
from tests.sessions.merges import MISTAKES
from tests.sessions.users import Refusal, Users


@attrs.frozen
class Step:
    """One step of a producer: an action, its items, and its duration in seconds."""

    what: str
    items: tuple[Item, ...] = attrs.field(default=(), repr=reprlib.repr)
    seconds: float = 0.0


Act = Callable[[Users, Actor, Step], Coroutine[object, object, Refusal]]
Bring = Callable[..., Coroutine[Any, Any, Refusal]]


async def produce(users: Users, actor: Actor, steps: Sequence[Step]) -> None:
    """Do the steps; continue after a QueueFull or a failed merge, stop after any other refusal."""
    for step in steps:
        refusal = await ACTS[step.what](users, actor, step)
        if refusal is not None and not isinstance(refusal, (QueueFull, *MISTAKES)):
            return


async def _pause(users: Users, actor: Actor, step: Step) -> Refusal:
    await asyncio.sleep(step.seconds)
    return None


async def _work(users: Users, actor: Actor, step: Step) -> Refusal:
    """Keep the loop busy for the seconds of the step."""
    users.loop.elapse(step.seconds)
    return None


async def _nowait(users: Users, actor: Actor, step: Step) -> Refusal:
    refusals = [users.enqueue_nowait(actor, item) for item in step.items]
    return next(filter(None, refusals), None)


def _each(bring: Bring) -> Act:
    """Return an action that brings the items one after the other."""

    async def act(users: Users, actor: Actor, step: Step) -> Refusal:
        refusal = None
        for item in step.items:
            refusal = await bring(users, actor, item) or refusal
        return refusal

    return act


async def _await(users: Users, actor: Actor, step: Step) -> Refusal:
    """Await all receipts, one after the other."""
    while actor.receipts:
        await users.wait(actor, *actor.receipts.pop())
    return None


def _for_a_while(act: Act) -> Act:
    """Return the same action with a timeout."""

    async def impatient(users: Users, actor: Actor, step: Step) -> Refusal:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(step.seconds):
                return await act(users, actor, step)
        return None

    return impatient


async def _wait_for(users: Users, actor: Actor, step: Step) -> Refusal:
    if sys.version_info < (3, 12) and actor.scope is not None:
        return None  # wait_for would swallow the actor's own timeout
    with contextlib.suppress(TimeoutError):
        return await asyncio.wait_for(users.enqueue(actor, step.items[0]), step.seconds)
    return None


def _give_up(bring: Bring) -> Act:
    """Return an action that starts a call and closes its coroutine some iterations later."""

    async def act(users: Users, actor: Actor, step: Step) -> Refusal:
        waiting = bring(users, actor, step.items[0], given_up=True)
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

    return act


ACTS: dict[str, Act] = {
    "pause": _pause,
    "work": _work,
    "enqueue": _each(Users.enqueue),
    "nowait": _nowait,
    "timeout": _for_a_while(_each(Users.enqueue)),
    "wait_for": _wait_for,
    "give up": _give_up(Users.enqueue),
    "submit": _each(Users.submit),
    "await": _await,
    "await for": _for_a_while(_await),
    "deliver": _each(Users.deliver),
    "deliver for": _for_a_while(_each(Users.deliver)),
    "give up delivery": _give_up(Users.deliver),
}
