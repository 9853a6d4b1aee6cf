"""How a producer waits: for room, or to let others run.

The core decides how long (flushq.core.admission). The item is accepted afterwards, in the step in
which the producer goes on: Entrance._enqueue_slow and _accept. To come and to leave, however a
producer leaves, gives cause for a pass: the room that it has not taken may be somebody else's.

To wait is a coroutine of the Runner's, without another around it: each producer in line keeps all
its coroutines, and all of them are resumed when it goes on.
"""

import asyncio
from collections.abc import Coroutine, Hashable
from typing import Any, TypeVar

from flushq.aio.runner import Runner
from flushq.core.core import Core

T = TypeVar("T")


def check_open(core: Core[T], runner: Runner[T]) -> None:
    """Raise why the queue takes no item of the caller, if it does not."""
    if core.ending.begun:
        core.ending.check_open(runner.inside())


def wait_in_line(core: Core[T], runner: Runner[T]) -> Coroutine[Any, Any, BaseException | None]:
    """Wait for room, and return why the caller is refused, if it is: for :func:`leave_line`."""
    runner.wake()
    return runner.wait(core.admission.waitlist, runner.inside())


def leave_line(core: Core[T], runner: Runner[T], refusal: BaseException | None) -> None:
    """There is room for the caller when this returns, which it takes at once."""
    runner.wake()
    if refusal is not None:
        raise refusal
    check_open(core, runner)


async def give_way(core: Core[T], runner: Runner[T], key: Hashable) -> None:
    """Let others run; there is room for the caller when this returns, which it takes at once."""
    admission = core.admission
    claimed = admission.give_way(key)
    try:
        await asyncio.sleep(0)
    finally:
        admission.come_back(claimed=claimed)
        runner.wake()
    check_open(core, runner)
    if not claimed and admission.must_wait(key):  # it is not a duplicate any more
        leave_line(core, runner, await wait_in_line(core, runner))
