"""What signals do."""

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import pytest

from flushq.cli.signals import Shutdown


class WindowsLoop(asyncio.SelectorEventLoop):
    """A loop that cannot listen to signals, as those of Windows."""

    def add_signal_handler(self, *_: Any) -> None:  # type: ignore[override]  # it takes any
        """Refuse."""
        raise NotImplementedError


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("loop", [asyncio.SelectorEventLoop, WindowsLoop])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_insists(
    number: signal.Signals, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """Whether or not a loop can listen to signals, the first calls stop, the second cancels."""
    asked: list[signal.Signals] = []

    async def work() -> None:
        stopped = asyncio.Event()

        def stop(number: signal.Signals) -> None:
            asked.append(number)
            stopped.set()

        shutdown = Shutdown(stop, limit=None)
        signal.raise_signal(number)
        await stopped.wait()
        assert number == shutdown.signal
        signal.raise_signal(number)
        await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=loop) as runner, pytest.raises(asyncio.CancelledError):
        runner.run(work())
    assert [number] == asked
