"""How a producer waits: for room, or to let others run.

The core decides how long (flushq.core.admission). The item is accepted afterwards, in the step in
which the producer goes on: Entrance._enqueue_slow and _accept. To come and to leave, however a
producer leaves, gives cause for a pass: the room that it has not taken may be somebody else's.

To wait is a coroutine of the Runner's, without another around it: each producer in line keeps all
its coroutines, and all of them are resumed when it goes on.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from flushq.aio.runner import Runner
from flushq.core.core import Core
from flushq.core.need import Need

T = TypeVar("T")


def check_open(core: Core[T], runner: Runner[T]) -> None:
    """Raise why the queue takes no item of the caller, if it does not."""
    if core.ending.begun:
        core.ending.check_open(runner.inside())


def wait_in_line(
    core: Core[T], runner: Runner[T], need: Need, turn: int
) -> Coroutine[Any, Any, BaseException | None]:
    """Wait for room, and return why the caller is refused, if it is: for :func:`leave_line`.

    ``turn`` is its number in the order in which producers came.
    """
    runner.wake()
    return runner.wait(core.admission.waitlist, runner.inside(), need.weight, turn)


def leave_line(core: Core[T], runner: Runner[T], refusal: BaseException | None) -> None:
    """The caller has the room that it was given when this returns: it takes that at once."""
    runner.wake()
    if refusal is not None:
        raise refusal
    check_open(core, runner)


async def give_way(core: Core[T], runner: Runner[T], need: Need) -> None:
    """Let others run; the caller has the room that it needed when it came, and takes it at once."""
    core.admission.give_way(need)
    try:
        await asyncio.sleep(0)
    finally:
        core.admission.come_back(need)
        runner.wake()
    check_open(core, runner)
