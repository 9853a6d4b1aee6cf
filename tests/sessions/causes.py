"""Exceptions that the queue passes on, and those that it makes: which one is the one expected."""

import re
from asyncio import CancelledError
from collections.abc import Iterable
from typing import Self

import attrs

COUNTS = re.compile(r" \(\d+ undelivered, \d+ in doubt\)$")


@attrs.frozen(eq=False)
class Made:
    """An exception that the queue makes itself: of this kind, with this cause."""

    kind: type[BaseException]
    cause: BaseException | None


Cause = BaseException | Made | None


def is_same(actual: BaseException | None, expected: Cause) -> bool:
    """Whether an exception is the one expected; asyncio may make a new CancelledError of one."""
    if isinstance(expected, Made):
        return type(actual) is expected.kind and actual.__cause__ is expected.cause
    both = isinstance(actual, CancelledError) and isinstance(expected, CancelledError)
    return both or actual is expected


def is_any(actual: BaseException | None, expected: Iterable[Cause]) -> bool:
    """Whether it is one of those."""
    return any(is_same(actual, each) for each in expected)


@attrs.frozen(eq=False)
class Told:
    """What an answer says, in whichever object; None says that all is well.

    Attributes:
        kind: The kind of the exception.
        message: What it says, but for how many items the lists hold by now.
        cause: Its cause.
    """

    kind: type[BaseException] | None
    message: str
    cause: BaseException | None

    @classmethod
    def by(cls, error: BaseException | None) -> Self:
        """What this one says."""
        if error is None:
            return cls(None, "", None)
        return cls(type(error), COUNTS.sub("", str(error)), error.__cause__)

    def is_same(self, other: Self) -> bool:
        """Whether both say the same."""
        same = self.kind is other.kind and self.cause is other.cause
        return same and self.message == other.message
