"""What a sink, a handler or a loader raises: also exceptions that refuse to be compared."""

from asyncio import CancelledError


class Incomparable(Exception):
    """An exception that refuses to be compared."""

    __hash__ = None  # type: ignore[assignment]  # that is how Python marks it

    def __eq__(self, other: object) -> bool:
        raise TypeError("an exception was compared")


ERRORS: list[type[Exception]] = [ValueError, Incomparable]
"""What may be raised for an item."""

FAULTS: list[type[BaseException]] = [*ERRORS, TimeoutError, CancelledError]
"""What may be raised for a batch."""


def error_of(number: int, text: str) -> Exception:
    """Make the exception of this number."""
    return ERRORS[number % len(ERRORS)](text)
