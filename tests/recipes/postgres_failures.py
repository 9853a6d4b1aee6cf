"""What to do when PostgreSQL fails: wait for what passes, and bury what it refuses."""

import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg
import attrs

from flushq import Failure, FailureHandler, Retry, Verdict

T = TypeVar("T")
Bury = Callable[[T, BaseException], Awaitable[object]]
Kinds = tuple[type[Exception], ...]

PASSING = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)  # of a connection
PASSING_STATES = {"08", "40", "53", "57"}  # connection, deadlock, disk or memory, shutdown
POISONED_STATES = {"22", "23", "54", "P0"}  # data, constraint, size, what a trigger raises
MISFITS = (TypeError, ValueError, OverflowError)  # of a row whose values are not those of a column
CLOSED = (asyncpg.SyntaxOrAccessError, asyncpg.InvalidSchemaNameError)  # of a table as a whole


def handler(bury: Bury[T], refused: Kinds = (UnicodeError,)) -> FailureHandler[T]:
    """Wait for PostgreSQL as long as it takes; bury what it refuses, one item at a time."""
    return FailureHandler(
        retry=lambda error: isinstance(error, PASSING) or _state(error) in PASSING_STATES,
        split=lambda error: isinstance(error, refused) or _state(error) in POISONED_STATES,
        bury=bury,
        backoff=lambda failure: Retry.backoff(failure.attempt, most=5.0),  # less than a close has
    )


async def judge_tables(bury: Bury[T], failure: Failure[T]) -> Verdict:
    """The same, where each batch is of one of many tables; bury all rows of one that takes none.

    Such a table is missing, may not be written, or has a column that is always generated.
    """
    if isinstance(failure.error, CLOSED):  # each row has failed by itself: none needs to be alone
        failure = attrs.evolve(failure, errors=[failure.error] * len(failure.items))
    return await handler(bury, MISFITS + CLOSED)(failure)


def _state(error: BaseException) -> str:
    return (getattr(error, "sqlstate", None) or "")[:2]


async def tell(item: object, error: BaseException) -> None:
    """Bury an item in the output for errors."""
    print(f"refused: {item}: {error}", file=sys.stderr)
