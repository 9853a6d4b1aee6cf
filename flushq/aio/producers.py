"""The two reasons why a producer waits: there is no room, or other tasks must run first.

The core decides how long a wait lasts (flushq.core.admission). The item is accepted after the wait,
in the step in which the producer runs again: see Entrance._enqueue_slow and _accept. A producer
that begins to wait for room schedules a pass. Every producer schedules a pass when its wait ends,
for whatever reason: if the producer does not take its room, the pass may give this room to another
producer.

A wait for room is a coroutine of the Runner, without another coroutine around it. Each further
coroutine would cost memory for every producer in line, and time when a producer runs again.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from flushq.aio.runner import Runner
from flushq.core.core import Core
from flushq.core.need import Need

T = TypeVar("T")


def check_open(core: Core[T], runner: Runner[T]) -> None:
    """Raise QueueClosed, or the failure of the queue, if the queue must refuse the caller."""
    if core.ending.has_begun:
        core.ending.check_open(runner.inside())


def wait_in_line(
    core: Core[T], runner: Runner[T], need: Need, turn: int
) -> Coroutine[Any, Any, BaseException | None]:
    """Wait for room; return None if there is room, or the exception if the caller is refused.

    ``turn`` is the turn of the caller (flushq.core.waitlist).
    """
    runner.wake()
    return runner.wait(core.admission.waitlist, runner.inside(), need.weight, turn)


def raise_if_refused(core: Core[T], runner: Runner[T], refusal: BaseException | None) -> None:
    """Raise ``refusal``; if it is None, do the same as :func:`check_open`.

    If nothing is raised, the caller must take its room at once.
    """
    runner.wake()
    if refusal is not None:
        raise refusal
    check_open(core, runner)


async def give_way(core: Core[T], runner: Runner[T], need: Need) -> None:
    """Claim room, and let other tasks run; afterwards the caller must take the room at once."""
    core.admission.claim_room(need)
    try:
        await asyncio.sleep(0)
    finally:
        core.admission.end_claim(need)
        runner.wake()
    check_open(core, runner)
