"""Exceptions that the queue passes on, and those that it makes: which one is the one expected."""

from asyncio import CancelledError
from collections.abc import Iterable

import attrs


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
