"""What to do when PostgreSQL fails: wait for what passes, and bury what it refuses."""

import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

from flushq import Drop, Fail, Failure, Retry, Split, Verdict

T = TypeVar("T")
Bury = Callable[[T, BaseException], Awaitable[object]]

PASSING = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)  # of a connection
PASSING_STATES = {"08", "40", "53", "57"}  # connection, deadlock, disk or memory, shutdown
POISONED_STATES = {"22", "23", "54", "P0"}  # data, constraint, size, what a trigger raises
MISFITS = (TypeError, ValueError, OverflowError)  # of a row whose values are not those of a column
CLOSED = (asyncpg.SyntaxOrAccessError, asyncpg.InvalidSchemaNameError)  # of a table as a whole


async def judge(bury: Bury[T], failure: Failure[T]) -> Verdict:
    """Wait for PostgreSQL as long as it takes; bury what it refuses, one item at a time."""
    error = failure.error
    if isinstance(error, UnicodeError) or _state(error) in POISONED_STATES:
        if len(failure.items) > 1:
            return Split()
        try:
            await bury(failure.items[0], error)
        except Exception as trouble:
            failure.error.add_note(f"and it cannot be buried: {trouble!r}")
            error = trouble
        else:
            return Drop()
    if isinstance(error, PASSING) or _state(error) in PASSING_STATES:
        return Retry(after=min(5.0, 0.1 * failure.attempt))
    return Fail()


async def judge_tables(bury: Bury[T], failure: Failure[T]) -> Verdict:
    """The same, where each batch is of one of many tables; bury all rows of one that takes none.

    Such a table is missing, may not be written, or has a column that is always generated.
    """
    if isinstance(failure.error, MISFITS) and len(failure.items) > 1:
        return Split()
    if isinstance(failure.error, MISFITS + CLOSED):
        for item in failure.items:
            await bury(item, failure.error)
        return Drop()
    return await judge(bury, failure)


def _state(error: BaseException) -> str:
    return (getattr(error, "sqlstate", None) or "")[:2]


async def tell(item: object, error: BaseException) -> None:
    """Bury an item in the output for errors."""
    print(f"refused: {item}: {error}", file=sys.stderr)
