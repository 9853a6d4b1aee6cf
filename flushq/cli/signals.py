"""What signals do: to an ingestion the first asks for an orderly end, and the second insists.

An interrupt of a simulation first takes its progress off the terminal.
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
    """Listens to the signals on behalf of the task that makes it.

    The first signal is told to ``stop``. If the task is not done ``limit`` seconds later (None:
    no limit), or when another signal comes, it is cancelled.

    Attributes:
        signal: The first signal that came.
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
        except NotImplementedError:  # on Windows, where a handler has to wake the loop itself
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
    """Let an interrupt first unwind what is under way, and then do what it usually does."""
    otherwise = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, otherwise)
        signal.raise_signal(signal.SIGINT)
        raise
    finally:
        signal.signal(signal.SIGINT, otherwise)
