"""A queue that tells a mirror of its every step: passes, timers, flushes and calls."""

import asyncio
import types
from asyncio import CancelledError
from collections.abc import Awaitable, Generator
from functools import partial
from typing import Any
from unittest import mock

from flushq import FlushQueue
from flushq.aio.calls import Calls
from flushq.aio.runner import Runner
from flushq.core.batch import Batch
from flushq.core.core import Core
from tests.core_sessions.calls import Call
from tests.core_sessions.driver import Caller
from tests.sessions.facts import Item
from tests.sessions.mirror import CURRENT, Mirror


class MirroredCalls(Calls[Item]):
    """The calls of a flush, which tell the mirror when they begin and end."""

    def __init__(self, mirror: Mirror, core: Core[Item], *functions: Any) -> None:
        super().__init__(core, *functions)
        self._mirror = mirror

    async def run_flush(self, batch: Batch[Item]) -> None:
        """Run the flush of a batch, and tell the mirror."""
        flush = self._mirror.begin(batch)
        CURRENT.set(flush)
        await super().run_flush(batch)
        self._mirror.end(flush)


class MirroredRunner(Runner[Item]):
    """A runner that tells the mirror of its passes, timers and flushes."""

    def __init__(self, mirror: Mirror, core: Core[Item], *functions: Any) -> None:
        super().__init__(core, *functions)
        self._mirror = mirror
        self._is_setting_deadline = False

    def _pass(self) -> None:
        self._mirror.begin_pass()
        super()._pass()
        self._mirror.end_pass()

    def _on_timer(self) -> None:
        self._mirror.fire_timer(self._timer_at)
        super()._on_timer()

    def _set_deadline(self) -> None:
        self._is_setting_deadline = True
        super()._set_deadline()
        self._is_setting_deadline = False

    def _on_deadline(self) -> None:
        if not self._is_setting_deadline:
            self._mirror.reach_limit()
        super()._on_deadline()

    def _start_flush(self, batch: Batch[Item]) -> None:
        items = tuple(batch.items)
        super()._start_flush(batch)
        self._mirror.launch(batch, items, next(reversed(self._tasks)))

    def _on_done(self, task: asyncio.Task[None]) -> None:
        batch = self._tasks[task]
        super()._on_done(task)
        self._mirror.forget(batch)


class MirroredQueue(FlushQueue[Item]):
    """A queue that tells a mirror of its steps."""

    def __init__(self, mirror: Mirror, flush_fn: Any, policy: Any, **options: Any) -> None:
        core = partial(Core, burst=mirror.model.usual_burst)
        runner, calls = partial(MirroredRunner, mirror), partial(MirroredCalls, mirror)
        with (
            mock.patch("flushq.aio.queue.Core", core),
            mock.patch("flushq.aio.queue.Runner", runner),
            mock.patch("flushq.aio.runner.Calls", calls),
        ):
            super().__init__(flush_fn, policy, **options)
        mirror.watch(self, self._core, self._runner, lambda: (self._credit, self._overdraft))


class Visit:
    """A call of the queue whose steps are also taken by the model.

    Attributes:
        who: The name of the actor that makes the call.
        call: The call in the model.
        caller: The visible state of the call.
    """

    def __init__(self, mirror: Mirror, who: str, call: Call) -> None:
        self.who = who
        self.call = call
        self.caller = Caller()
        self._mirror = mirror

    async def take(self, steps: Awaitable[None], *, given_up: bool = False) -> None:
        """Take the steps; with ``given_up``, cancelling the task does not cancel the call."""
        task = None if given_up else asyncio.current_task()
        self._mirror.calls[task] = self.call
        try:
            await self._watched(steps.__await__())
        except BaseException as error:
            closed = isinstance(error, GeneratorExit)
            self.caller.error = CancelledError() if closed else error
            raise
        finally:
            self.caller.done = True
            self._mirror.calls.pop(task, None)

    @types.coroutine
    def _watched(self, steps: Generator[Any, Any, None]) -> Generator[Any, Any, None]:
        """Pass on the waiters and exceptions of the steps, and tell the mirror of each step."""
        step = partial(next, steps)
        while True:
            try:
                self.caller.waiter = step()
            except StopIteration:
                return
            self._mirror.compare()
            thrown = None
            try:
                yield self.caller.waiter
            except BaseException as error:
                thrown = error
            self._mirror.go_on(self.call, thrown)
            step = partial(next, steps) if thrown is None else partial(steps.throw, thrown)
