"""``python -P -m benchmarks.worker MODULE:NAME LOOP FOLDER``: measure one candidate, once.

The worker calls the candidate again and again for 0.3 seconds, at least once, and prints the median
of the results. If the candidate imports flushq, it must get the flushq in FOLDER, since two
projects have the name flushq.
"""

import asyncio
import importlib
import statistics
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter

SECONDS = 0.3


def resolve(path: str) -> Callable[[], Awaitable[float]]:
    """Return the candidate that ``module:name`` stands for."""
    module, _, name = path.partition(":")
    candidate: Callable[[], Awaitable[float]] = getattr(
        importlib.import_module(f"benchmarks.candidates.{module}"), name
    )
    return candidate


async def measure(candidate: Callable[[], Awaitable[float]]) -> float:
    """Call a candidate again and again for 0.3 seconds; return the median of its results."""
    numbers: list[float] = []
    until = perf_counter() + SECONDS
    while not numbers or perf_counter() < until:
        numbers.append(await candidate())
    return statistics.median(numbers)


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the function that makes an event loop of package ``name``; None for ``asyncio``."""
    if name == "asyncio":
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module(name).new_event_loop
    return factory


def main(path: str, loop: str, folder: str) -> None:
    """Measure a candidate and print the median."""
    candidate = resolve(path)
    flushq = sys.modules.get("flushq")
    if flushq is not None and not Path(str(flushq.__file__)).is_relative_to(folder):
        raise ImportError(f"flushq must come from {folder}, not from {flushq.__file__}")
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        print(repr(runner.run(measure(candidate))))


if __name__ == "__main__":
    main(*sys.argv[1:])
