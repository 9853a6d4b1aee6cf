"""Waiters: the futures that the core completes to wake callers, such as producers in line.

A driver makes a future for each caller that waits, and passes the future to the core. The core
completes each future once; the core neither makes futures nor awaits them. An ``asyncio.Future``
can be a waiter, and so can a ``concurrent.futures.Future``.
"""

from typing import Any, Protocol, TypeVarTuple

Facts = TypeVarTuple("Facts")


class Registry(Protocol[*Facts]):
    """A part of the core that holds the waiters of callers while these callers wait."""

    def join(self, waiter: "Waiter", *facts: *Facts) -> None:
        """Add the waiter of a caller that begins to wait.

        ``facts`` tell more about the caller. For a producer, one fact is the weight of its item.
        """

    def leave(self, waiter: "Waiter") -> None:
        """Remove the waiter of a caller that no longer waits, for example after a cancellation."""


class Waiter(Protocol):
    """The methods of a future that the core uses."""

    def done(self) -> bool:
        """Return whether the future was completed or cancelled."""
        ...  # pragma: no cover - a protocol has no code

    def set_result(self, result: Any, /) -> None:
        """Complete the future with this result."""


def wake(waiter: Waiter, answer: object = None) -> bool:
    """Complete a waiter with ``answer`` and return True, or return False if it is already done."""
    if waiter.done():
        return False
    waiter.set_result(answer)
    return True
