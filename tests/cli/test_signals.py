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
