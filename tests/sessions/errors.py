"""What a sink, a handler or a loader raises: also exceptions that only their identity tells apart.

Some classes define ``__eq__`` to suit what they carry, so that to compare two of them may raise.
"""

from asyncio import CancelledError


class Incomparable(Exception):
    """An exception that refuses to be compared."""

    __hash__ = None  # type: ignore[assignment]  # that is how Python marks it

    def __eq__(self, other: object) -> bool:
        raise TypeError("an exception was compared")


ERRORS: list[type[Exception]] = [ValueError, Incomparable]
"""What may be raised for an item."""

FAULTS: list[type[BaseException]] = [*ERRORS, ValueError, TimeoutError, CancelledError]
"""What may be raised for a batch."""


def error_of(number: int, text: str) -> Exception:
    """Make the exception of this number."""
    return ERRORS[number % len(ERRORS)](text)
