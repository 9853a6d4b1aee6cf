"""The effects of signals on a command."""

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import pytest

from flushq.cli.signals import Shutdown


class WindowsLoop(asyncio.SelectorEventLoop):
    """An event loop that has no signal handlers, like the loops on Windows."""

    def add_signal_handler(self, *_: Any) -> None:  # type: ignore[override]  # it takes any
        """Raise NotImplementedError."""
        raise NotImplementedError


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("loop", [asyncio.SelectorEventLoop, WindowsLoop])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_stops_and_the_second_cancels(
    number: signal.Signals, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """In either loop the first signal calls the function, and the second one cancels the task."""
    asked: asyncio.Queue[signal.Signals] = asyncio.Queue()

    async def work() -> None:
        shutdown = Shutdown(asked.put_nowait, limit=None)
        signal.raise_signal(number)
        assert number == await asked.get() == shutdown.signal
        signal.raise_signal(number)
        await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=loop) as runner, pytest.raises(asyncio.CancelledError):
        runner.run(work())
    assert asked.empty()
