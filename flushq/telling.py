"""The reports, log records, notes and warnings of a driver.

None of these may stop a queue. So the functions here ignore the error if a record cannot be logged
or a note cannot be added to an exception. They may run code of the user (a logging handler,
on_report), so the driver must not hold a lock when it calls them.
"""

import logging
import reprlib
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from flushq.arguments import shown
from flushq.core.core import Core
from flushq.errors import QueueEnded
from flushq.outcomes import FlushReport

T = TypeVar("T")

OnReport = Callable[[FlushReport], object]

START_SECONDS = 1.0
"""How long a queue may hold items before a warning says that it was not started."""

logger = logging.getLogger("flushq")


def hand_out_reports(core: Core[Any], on_report: OnReport) -> None:
    """Call on_report for each flush that has ended, and log the exceptions that on_report raises.

    KeyboardInterrupt and SystemExit are not logged, but raised.
    """
    reports = core.reports
    while reports:
        report = reports.pop(0)
        try:
            on_report(report)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # a CancelledError, too: nothing is cancelled here
            with suppress(Exception):
                logger.exception("%son_report raised an exception for %r", core.label, report)


def log_interrupt(core: Core[Any], interrupt: BaseException) -> None:
    """Log the KeyboardInterrupt or SystemExit of on_report, if no caller can get it."""
    with suppress(Exception):
        what = "%son_report raised KeyboardInterrupt or SystemExit; the queue ignores it"
        logger.error(what, core.label, exc_info=interrupt)


def log_failure(failure: QueueEnded | None) -> None:
    """Log the failure of the queue, if there is one."""
    if failure is not None:
        with suppress(Exception):
            kind = type(failure).__name__
            logger.error("the queue has failed with %s: %s", kind, failure, exc_info=failure)


def log_displaced(core: Core[Any], now: float) -> None:
    """Log how many items were displaced, if a record is due.

    An item that a finalizer or a signal handler enqueued may also be displaced because it is a
    duplicate: it cannot be merged, or the merge would add more weight than there is room for.
    Each such item gets a record of its own.
    """
    count = core.admission.count_to_report(now)
    if count:
        total, bounds = core.batcher.displaced, core.admission.bounds
        what = "%sthe queue is full (%s) and displaces items: %d since the last record, %d in all"
        with suppress(Exception):
            logger.warning(what, core.label, bounds, count, total)
    while core.admission.unmerged:
        _log_unmerged(core, core.admission.unmerged.pop(0))


def _log_unmerged(core: Core[Any], why: Exception) -> None:
    what = "%san item of a finalizer or a signal handler was displaced: %s"
    with suppress(Exception):
        logger.error(what, core.label, shown(why), exc_info=why)


def log_collected(core: Core[Any], items: int, source: object) -> None:
    """Log and warn that a queue was garbage-collected with ``items`` items in it."""
    items_in_it = "1 item in it" if items == 1 else f"{items} items in it"
    must = "started" if core.ending.state == "new" else "closed"
    what = (
        f"a FlushQueue{core.name} was garbage-collected with {items_in_it}; "
        f"a queue must be {must} to deliver its items"
    )
    with suppress(Exception):
        logger.error(what)
    warnings.warn(what, ResourceWarning, stacklevel=3, source=source)


def log_not_started(core: Core[Any], how: str) -> None:
    """Log that a queue holds items but was not started; ``how`` says how to start it."""
    with suppress(Exception):
        logger.warning("%s holds items but was not started: use %s", repr(core), how)


def log_loss(core: Core[Any], what: str) -> None:
    """Log ``what`` and the outcome of the queue, if the queue failed or lost items.

    The driver calls this function if no caller waits for the end of the queue.
    """
    outcome = core.ending.outcome()
    if outcome is not None:
        with suppress(Exception):
            logger.error("%s%s: %s", core.label, what, outcome)


def raise_or_log_late(
    core: Core[Any], late: BaseException | None, error: BaseException | None
) -> None:
    """Raise ``late``, the exception of a source; if the block raised ``error``, log ``late``."""
    if late is None:
        return
    if error is None:
        raise late
    with suppress(Exception):
        logger.error(
            "%sthe source raised an exception while it was being stopped",
            core.label,
            exc_info=late,
        )


def log_no_dead_letter(item: object, trouble: BaseException) -> None:
    """Log that no dead letter could be written for an item."""
    with suppress(Exception):
        logger.error(
            "no dead letter could be written, the item is kept: %s",
            reprlib.repr(item),
            exc_info=trouble,
        )


def raise_outcome(
    core: Core[T], interruption: BaseException | None, error: BaseException | None = None
) -> None:
    """Raise ``interruption`` if it is not None, or else the outcome of the queue if there is one.

    ``interruption`` is the exception that came while the driver waited for the queue to end. If the
    block of the queue has raised ``error``, the outcome is not raised, because ``error`` is raised
    anyway. If ``interruption`` or ``error`` is raised in place of the outcome, a note on that
    exception and a log record tell the outcome, unless that exception lists the lost items.
    """
    outcome = core.ending.outcome()
    if outcome is not None:
        _note_loss(core, outcome, error if interruption is None else interruption)
    if interruption is not None:
        raise interruption
    if outcome is not None and error is None:
        raise outcome


def _note_loss(core: Core[T], outcome: BaseException, error: BaseException | None) -> None:
    """Add the outcome to ``error`` as a note, and log it, unless ``error`` lists the lost items."""
    if error is None or core.ending.carries_loss(error):
        return
    end = f"{type(outcome).__name__}: {outcome}"
    with suppress(Exception):
        error.add_note(f"flushq: the queue ended with {end}")
    with suppress(Exception):
        logger.error("the queue ended with %s", end, exc_info=outcome)
