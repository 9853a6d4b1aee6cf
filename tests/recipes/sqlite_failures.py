"""The failure handler for SQLite: it retries temporary errors, and buries refused items.

``handler`` is for queues of threads. The asyncio handler in sqlite.py uses the same functions.
"""

import sqlite3
from collections.abc import Callable
from typing import Any

from flushq import Failure, Retry
from flushq.threads import FailureHandler

PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
}
REFUSED = (sqlite3.IntegrityError, sqlite3.DataError, UnicodeError, OverflowError)
MISUSED = (sqlite3.ProgrammingError, sqlite3.InterfaceError)


def handler(bury: Callable[[Any, BaseException], object]) -> FailureHandler[Any]:
    """Return a handler that always retries temporary errors and buries refused items one by one."""
    return FailureHandler(retry=will_pass, split=is_refused, bury=bury, backoff=soon)


def will_pass(error: BaseException) -> bool:
    """Return whether the same statement may succeed later: the database is locked, full or gone."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in PASSING  # the primary code of an extended one, as SQLITE_IOERR_WRITE


def is_refused(error: BaseException) -> bool:
    """Return whether the table or the driver refuses a value for good: one item is at fault."""
    return isinstance(error, REFUSED) or (isinstance(error, MISUSED) and "bind" in str(error))


def soon(failure: Failure[Any]) -> Retry:
    """Return a retry after at most a second, so that a close has time for several attempts."""
    return Retry.backoff(failure.attempt, most=1.0)
