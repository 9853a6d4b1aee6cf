"""The exceptions that a sink, a handler or a loader raises, some of them not comparable."""

from asyncio import CancelledError


class Incomparable(Exception):
    """An exception that raises TypeError when it is compared."""

    __hash__ = None  # type: ignore[assignment]  # that is how Python marks it

    def __eq__(self, other: object) -> bool:
        raise TypeError("an exception was compared")


ERRORS: list[type[Exception]] = [ValueError, Incomparable]
"""The classes of exceptions that may be raised for an item."""

FAULTS: list[type[BaseException]] = [*ERRORS, TimeoutError, CancelledError]
"""The classes of exceptions that may be raised for a batch."""


def error_of(number: int, text: str) -> Exception:
    """Make an exception; its class depends on the number."""
    return ERRORS[number % len(ERRORS)](text)
