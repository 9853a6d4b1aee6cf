"""What a sink, a handler or a loader raises: also exceptions that only their identity tells apart.

Some classes define ``__eq__`` to suit what they carry, so that to compare two exceptions may raise,
or answer with what is neither true nor false, as arrays do. Neither can be hashed.
"""

from asyncio import CancelledError


class Incomparable(Exception):
    """An exception that refuses to be compared."""

    __hash__ = None  # type: ignore[assignment]  # that is how Python marks it

    def __eq__(self, other: object) -> bool:
        raise TypeError("an exception was compared")


class Elementwise(Exception):
    """An exception that is compared element by element, as one that carries an array is."""

    __hash__ = None  # type: ignore[assignment]  # that is how Python marks it

    def __eq__(self, other: object) -> "Answers":  # type: ignore[override]  # that is the point
        return Answers()


class Answers:
    """What an array answers when it is compared."""

    def __bool__(self) -> bool:
        raise ValueError("the truth value of several answers is ambiguous")


ERRORS: list[type[Exception]] = [ValueError, Incomparable, Elementwise]
"""What may be raised for an item."""

FAULTS: list[type[BaseException]] = [*ERRORS, ValueError, TimeoutError, CancelledError]
"""What may be raised for a batch."""


def error_of(number: int, text: str) -> Exception:
    """Make the exception of this number."""
    return ERRORS[number % len(ERRORS)](text)
