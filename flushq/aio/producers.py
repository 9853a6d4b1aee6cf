"""The waits of a producer: for room, or to let others run.

The core decides how long a wait is (flushq.core.admission). The item is accepted after the wait, in
the step in which the producer runs again: see Entrance._enqueue_slow and _accept. A producer asks
for a pass when its wait begins and when its wait ends, however it ends: room that the producer has
not taken may belong to another producer.

A wait is a coroutine of the Runner, without another coroutine around it. Each further coroutine
would cost memory for every producer in line, and time when a producer runs again.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from flushq.aio.runner import Runner
from flushq.core.core import Core
from flushq.core.need import Need

T = TypeVar("T")


def check_open(core: Core[T], runner: Runner[T]) -> None:
    """Raise the exception for a refused caller, if the queue accepts no item of this caller."""
    if core.ending.has_begun:
        core.ending.check_open(runner.inside())


def wait_in_line(
    core: Core[T], runner: Runner[T], need: Need, turn: int
) -> Coroutine[Any, Any, BaseException | None]:
    """Wait for room; return the exception for a refused caller, or None if there is room.

    ``turn`` is the number of the producer in the order in which producers came.
    """
    runner.wake()
    return runner.wait(core.admission.waitlist, runner.inside(), need.weight, turn)


def raise_if_refused(core: Core[T], runner: Runner[T], refusal: BaseException | None) -> None:
    """Raise the exception for a refused caller; without one, the caller must take room at once."""
    runner.wake()
    if refusal is not None:
        raise refusal
    check_open(core, runner)


async def give_way(core: Core[T], runner: Runner[T], need: Need) -> None:
    """Let others run while the caller keeps its room, which the caller must then take at once."""
    core.admission.claim_room(need)
    try:
        await asyncio.sleep(0)
    finally:
        core.admission.end_claim(need)
        runner.wake()
    check_open(core, runner)
