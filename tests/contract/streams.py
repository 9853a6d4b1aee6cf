"""What the tests of streams share: a source that tells, and scenarios that both drivers play."""

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import attrs
import pytest

from tests.threads.worlds import Scenario, World, run_aio, run_threads

SEEDS = range(6)


def in_asyncio(scenario: Scenario) -> None:
    """Play a scenario in asyncio."""
    run_aio(scenario)


def in_threads(scenario: Scenario) -> None:
    """Play a scenario in threads, in some orders."""
    for seed in SEEDS:
        run_threads(scenario, seed)


Play = Callable[[Scenario], None]

in_both = pytest.mark.parametrize("play", [in_asyncio, in_threads])


@attrs.define(eq=False)
class Source:
    """Yields numbers from 0 on, each after so many seconds, and tells what becomes of it.

    Attributes:
        world: The driver.
        delays: The seconds before each item.
        error: What it raises at its end.
        read: How many items it has yielded.
        closed: Whether it has ended, or was closed.
    """

    world: World
    delays: Iterable[float]
    error: BaseException | None = None
    read: int = attrs.field(default=0, init=False)
    closed: bool = attrs.field(default=False, init=False)

    async def items(self) -> AsyncIterator[int]:
        """Yield."""
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
    """Consume a stream to its end."""
    return [batch async for batch in stream]


async def raised(call: Any) -> BaseException:
    """What an awaitable raises."""
    try:
        await call
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")
