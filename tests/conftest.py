"""The loop of async tests, the Hypothesis profiles and the fixture of all tests.

An async test runs in virtual time. A test that needs real threads, sockets or subprocesses says

    @pytest.mark.asyncio(loop_factories=["standard"])

and a test that must pass on several loops names them all: virtual, standard, uvloop. In another
world (`tests.worlds`) the loop is the one of the world.
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
    uvloop = pytest.importorskip("uvloop", reason="uvloop does not run on Windows")
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
    """Return all loops for a test that names its loops, or else the loop of the world."""
    mark = item.get_closest_marker("asyncio")
    named = mark is not None and "loop_factories" in mark.kwargs
    return LOOPS if named else {worlds.NAME: worlds.LOOPS[worlds.NAME]}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests that cannot pass in this world."""
    if worlds.NAME != "virtual":
        config.hook.pytest_deselected(items=list(worlds.choose(items)))


def pytest_collection_finish() -> None:
    """Exclude all imported objects from garbage collection: they stay until the end."""
    gc.collect()
    gc.freeze()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """List each test that passes without a clock, in the world of the probe."""
    if worlds.NAME == "probe":
        worlds.note_timeless(report)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many tests were left out of this world, and why."""
    for reason, count in sorted(worlds.left_out.items()):
        terminalreporter.write_line(f"left out of {worlds.NAME}: {count}, {reason}")


@pytest.fixture(autouse=True)
def no_complaints(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test if asyncio logged an error, such as an exception that was never retrieved.

    A test that expects such an error ends with `caplog.clear()`.
    """
    yield
    complaints = [
        record.getMessage()
        for record in caplog.get_records("call")
        if record.name == "asyncio" and record.levelno >= logging.ERROR
    ]
    assert [] == complaints
