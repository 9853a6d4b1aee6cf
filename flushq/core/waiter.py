"""What the core knows of somebody who waits: a future, made and awaited by the driver.

A driver hands one in for each caller that waits. The core completes it, once, and neither makes nor
awaits one. The futures of asyncio and of concurrent.futures are waiters both.
"""

from typing import Any, Protocol, TypeVarTuple

Facts = TypeVarTuple("Facts")


class Registry(Protocol[*Facts]):
    """Where a waiter is entered when its caller begins to wait, and taken out when it goes on."""

    def join(self, waiter: "Waiter", *facts: *Facts) -> None:
        """The caller begins to wait; the facts are what is to be known of it."""

    def leave(self, waiter: "Waiter") -> None:
        """The caller goes on, however it does."""


class Waiter(Protocol):
    """A future, as far as the core is concerned."""

    def done(self) -> bool:
        """Whether it was completed or cancelled."""
        ...  # pragma: no cover - a protocol has no code

    def set_result(self, result: Any, /) -> None:
        """Complete it."""


def wake(waiter: Waiter, answer: object = None) -> bool:
    """Complete a waiter, and return whether somebody still waits on it."""
    if waiter.done():
        return False
    waiter.set_result(answer)
    return True
