"""Waiters: the futures with which the core wakes the callers that wait.

A driver makes a future for each caller that waits, and passes the future to the core. The core
completes each future once; the core neither makes futures nor awaits them. The futures of asyncio
and of concurrent.futures are both waiters.
"""

from typing import Any, Protocol, TypeVarTuple

Facts = TypeVarTuple("Facts")


class Registry(Protocol[*Facts]):
    """A part of the core that holds the waiters of callers while these callers wait."""

    def join(self, waiter: "Waiter", *facts: *Facts) -> None:
        """Add the waiter of a caller that begins to wait; ``facts`` describe this caller."""

    def leave(self, waiter: "Waiter") -> None:
        """Remove the waiter of a caller that no longer waits, for example after a cancellation."""


class Waiter(Protocol):
    """A future, with only those of its methods that the core uses."""

    def done(self) -> bool:
        """Return whether the future was completed or cancelled."""
        ...  # pragma: no cover - a protocol has no code

    def set_result(self, result: Any, /) -> None:
        """Complete the future with this result."""


def wake(waiter: Waiter, answer: object = None) -> bool:
    """Complete a waiter with ``answer``; return False if the waiter was already done."""
    if waiter.done():
        return False
    waiter.set_result(answer)
    return True
