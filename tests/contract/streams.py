"""Helpers of the tests of streams: a source, and scenarios for both drivers."""

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import attrs
import pytest

from tests.threads.worlds import Scenario, World, run_aio, run_threads

SEEDS = range(6)


def in_asyncio(scenario: Scenario) -> None:
    """Run a scenario in asyncio."""
    run_aio(scenario)


def in_threads(scenario: Scenario) -> None:
    """Run a scenario in threads, in several orders."""
    for seed in SEEDS:
        run_threads(scenario, seed)


Play = Callable[[Scenario], None]

in_both = pytest.mark.parametrize("play", [in_asyncio, in_threads])


@attrs.define(eq=False)
class Source:
    """A source of numbers from 0 on, each after a delay.

    Attributes:
        world: The driver.
        delays: The seconds before each item.
        error: The exception that the source raises at its end.
        read: How many items the source has yielded.
        closed: Whether the source has ended, or was closed.
    """

    world: World
    delays: Iterable[float]
    error: BaseException | None = None
    read: int = attrs.field(default=0, init=False)
    closed: bool = attrs.field(default=False, init=False)

    async def items(self) -> AsyncIterator[int]:
        """Yield the numbers."""
        try:
            for delay in self.delays:
                if delay:
                    await self.world.sleep(delay)
                self.read += 1
                yield self.read - 1
            if self.error is not None:
                raise self.error
        finally:
            self.closed = True


async def rest_of(stream: Any) -> list[list[int]]:
    """Return the remaining batches of a stream."""
    return [batch async for batch in stream]


async def raised(call: Any) -> BaseException:
    """Return the exception that an awaitable raises."""
    try:
        await call
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")
