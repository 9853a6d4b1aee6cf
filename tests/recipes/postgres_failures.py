"""The failure handlers for PostgreSQL: they retry temporary errors, and bury refused items."""

import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg
import attrs

from flushq import Failure, FailureHandler, Retry, Verdict

T = TypeVar("T")
Bury = Callable[[T, BaseException], Awaitable[object]]
Kinds = tuple[type[Exception], ...]

PASSING = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)  # the connection failed
PASSING_STATES = {"08", "40", "53", "57"}  # connection, deadlock, disk or memory, shutdown
POISONED_STATES = {"22", "23", "54", "P0"}  # data, constraint, size, an error of a trigger
MISFITS = (TypeError, ValueError, OverflowError)  # values that do not fit the columns
CLOSED = (asyncpg.SyntaxOrAccessError, asyncpg.InvalidSchemaNameError)  # no row fits the table


def handler(bury: Bury[T], refused: Kinds = (UnicodeError,)) -> FailureHandler[T]:
    """Return a handler that always retries temporary errors and buries refused items one by one."""
    return FailureHandler(
        retry=lambda error: isinstance(error, PASSING) or _state(error) in PASSING_STATES,
        split=lambda error: isinstance(error, refused) or _state(error) in POISONED_STATES,
        bury=bury,
        backoff=lambda failure: Retry.backoff(failure.attempt, most=5.0),  # below max_shutdown_wait
    )


async def judge_tables(bury: Bury[T], failure: Failure[T]) -> Verdict:
    """Decide like ``handler`` for a batch of one table; bury all rows if the table takes none.

    Such a table is missing, is not writable, or has a column that is always generated.
    """
    if isinstance(failure.error, CLOSED):  # an error for each row: the batch is not split
        failure = attrs.evolve(failure, errors=[failure.error] * len(failure.items))
    return await handler(bury, MISFITS + CLOSED)(failure)


def _state(error: BaseException) -> str:
    return (getattr(error, "sqlstate", None) or "")[:2]


async def tell(item: object, error: BaseException) -> None:
    """Print an item that was refused, and the reason, to standard error."""
    print(f"refused: {item}: {error}", file=sys.stderr)
