"""The handling of signals: the first signal ends a run normally, a second signal cancels the run.

If a simulation is interrupted, its progress bar is removed before the process ends.
"""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def current_task() -> asyncio.Task[Any]:
    """Return the task that is running."""
    task = asyncio.current_task()
    assert task is not None
    return task


class Shutdown:
    """The handler of SIGINT and SIGTERM for the task that creates the handler.

    The first signal calls ``stop`` with the number of the signal. A second signal cancels the task.
    The task is also cancelled if it is not done ``limit`` seconds after the first signal. If
    ``limit`` is None, only a second signal cancels the task.

    Attributes:
        signal: The first signal that was received, or None.
    """

    def __init__(self, stop: Callable[[signal.Signals], None], limit: float | None) -> None:
        self.signal: signal.Signals | None = None
        self._stop = stop
        self._limit = limit
        self._abort = current_task().cancel
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            self._listen(number)

    def _listen(self, number: signal.Signals) -> None:
        try:
            self._loop.add_signal_handler(number, self._on_signal, number)
        except NotImplementedError:  # on Windows, where a handler must wake the loop itself
            wake = self._loop.call_soon_threadsafe
            signal.signal(number, lambda *_: wake(self._on_signal, number))

    def _on_signal(self, number: signal.Signals) -> None:
        if self.signal is not None:
            self._abort()
            return
        self.signal = number
        self._stop(number)
        if self._limit is not None:
            self._loop.call_later(self._limit, self._abort)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGINT end the block. After the block's cleanup, pass SIGINT on to the former handler."""
    otherwise = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, otherwise)
        signal.raise_signal(signal.SIGINT)
        raise
    finally:
        signal.signal(signal.SIGINT, otherwise)
