"""What to do when SQLite fails: wait for what passes, and bury what it refuses.

``judge`` is for queues of threads. A handler for asyncio asks ``will_pass`` and ``is_refused``.
"""

import logging
import sqlite3
from collections.abc import Callable
from typing import TypeVar

from flushq import Drop, Fail, Failure, Retry, Split, Verdict

T = TypeVar("T")
Bury = Callable[[T, BaseException], object]

PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
}
REFUSED = (sqlite3.IntegrityError, sqlite3.DataError, UnicodeError, OverflowError)
MISUSED = (sqlite3.ProgrammingError, sqlite3.InterfaceError)


def judge(bury: Bury[T], failure: Failure[T]) -> Verdict:
    """Wait for SQLite as long as it takes; bury what it refuses, one item at a time."""
    if will_pass(failure.error):
        return Retry(after=min(1.0, 0.1 * failure.attempt))
    if not is_refused(failure.error):
        return Fail()
    if len(failure.items) > 1:
        return Split()
    try:
        bury(failure.items[0], failure.error)
    except Exception:
        logging.getLogger(__name__).exception("an item cannot be buried yet")
        return Retry(after=1.0)
    return Drop()


def will_pass(error: BaseException) -> bool:
    """Whether the database is locked, full or gone: the same statement may succeed later."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in PASSING  # without the bits of an extended code, as SQLITE_IOERR_WRITE


def is_refused(error: BaseException) -> bool:
    """Whether the table or the driver refuses a value for good: one item is at fault."""
    return isinstance(error, REFUSED) or (isinstance(error, MISUSED) and "bind" in str(error))
