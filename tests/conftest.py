"""What all tests share: the loop that async tests run on, and Hypothesis profiles.

An async test runs in virtual time. One that needs real threads, sockets or subprocesses says

    @pytest.mark.asyncio(loop_factories=["standard"])

and one that must hold on several loops names them all: virtual, standard, uvloop. In another world
(`tests.worlds`) the loop is that of the world.
"""

import asyncio
import gc
import logging
import os
from collections.abc import Callable, Iterator

import hypothesis
import pytest

from tests import worlds
from tests.virtual import VirtualLoop

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def _uvloop() -> asyncio.AbstractEventLoop:
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not to be had on Windows")
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


LOOPS: dict[str, LoopFactory] = {
    "virtual": VirtualLoop,
    "standard": asyncio.SelectorEventLoop,
    "uvloop": _uvloop,
}

hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, LoopFactory]:
    """Offer every loop to a test that names some, and that of the world to all others."""
    mark = item.get_closest_marker("asyncio")
    named = mark is not None and "loop_factories" in mark.kwargs
    return LOOPS if named else {worlds.NAME: worlds.LOOPS[worlds.NAME]}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what cannot hold in this world."""
    if worlds.NAME != "virtual":
        config.hook.pytest_deselected(items=list(worlds.choose(items)))


def pytest_collection_finish() -> None:
    """Spare the collector what was imported and collected: it stays until the end."""
    gc.collect()
    gc.freeze()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """List what holds without a clock, if that is what this run is for."""
    if worlds.NAME == "probe":
        worlds.note_timeless(report)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell how much was left out of this world, and why."""
    for reason, count in sorted(worlds.left_out.items()):
        terminalreporter.write_line(f"left out of {worlds.NAME}: {count}, {reason}")


@pytest.fixture(autouse=True)
def no_complaints(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test after which asyncio logged an error, as of an exception that nobody saw.

    A test that provokes one ends with `caplog.clear()`.
    """
    yield
    complaints = [
        record.getMessage()
        for record in caplog.get_records("call")
        if record.name == "asyncio" and record.levelno >= logging.ERROR
    ]
    assert [] == complaints
