"""The reports, log records, notes and warnings of a driver.

None of these may stop a queue: if logging fails, or an exception takes no notes, that is ignored.
All of these may run code of the user (a logging handler, on_report), so a driver holds no lock
meanwhile.
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

logger = logging.getLogger("flushq")


def tell_reports(core: Core[Any], on_report: OnReport) -> None:
    """Call on_report for each flush that has ended; log any exception that on_report raises."""
    reports = core.reports
    while reports:
        report = reports.pop(0)
        try:
            on_report(report)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # a CancelledError too: here it cancels nothing
            logger.exception("%son_report raised for %r", core.label, report)


def tell_failure(failure: QueueEnded | None) -> None:
    """Log the failure of the queue, if there is one."""
    if failure is not None:
        with suppress(Exception):
            kind = type(failure).__name__
            logger.error("the queue has failed with %s: %s", kind, failure, exc_info=failure)


def tell_displaced(core: Core[Any], now: float) -> None:
    """Log how many items were displaced, if a record is due.

    A displaced item of a finalizer or a signal handler gets a record of its own.
    """
    count = core.admission.news(now)
    if count:
        total, bounds = core.batcher.displaced, core.admission.bounds
        what = "%sthe queue is full (%s) and displaces items: %d since the last record, %d in all"
        with suppress(Exception):
            logger.warning(what, core.label, bounds, count, total)
    while core.admission.unmerged:
        _tell_unmerged(core, core.admission.unmerged.pop(0))


def _tell_unmerged(core: Core[Any], why: Exception) -> None:
    what = "%san item of a finalizer or a signal handler was displaced: %s"
    with suppress(Exception):
        logger.error(what, core.label, shown(why), exc_info=why)


def tell_dropped(core: Core[Any], items: int, source: object) -> None:
    """Log and warn that a queue was garbage-collected with ``items`` items in it."""
    what = (
        f"a FlushQueue{core.name} was garbage-collected with {items} items in it; "
        "a queue must be closed to deliver its items"
    )
    with suppress(Exception):
        logger.error(what)
    warnings.warn(what, ResourceWarning, stacklevel=3, source=source)


def tell_loss(core: Core[Any], what: str) -> None:
    """Log the outcome of a queue that has no caller left to raise the outcome to."""
    outcome = core.ending.outcome()
    if outcome is not None:
        logger.error("%s%s: %s", core.label, what, outcome)


def tell_late(core: Core[Any], late: BaseException | None, error: BaseException | None) -> None:
    """Raise the exception of a source that was stopped; log it if the block raises ``error``."""
    if late is None:
        return
    if error is None:
        raise late
    with suppress(Exception):
        logger.error("%sthe source raised while it was being stopped", core.label, exc_info=late)


def tell_unburied(item: object, trouble: BaseException) -> None:
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
    """Raise the exception that interrupted the wait for the end, or else the outcome of the queue.

    If the body of the queue has raised ``error``, the outcome is not raised. If another exception
    is raised, the outcome is told in a note on that exception and in a log record.
    """
    outcome = core.ending.outcome()
    if outcome is not None:
        _note_loss(core, outcome, error if interruption is None else interruption)
    if interruption is not None:
        raise interruption
    if outcome is not None and error is None:
        raise outcome


def _note_loss(core: Core[T], outcome: BaseException, error: BaseException | None) -> None:
    """Tell the outcome in a note on ``error`` and in the log, unless ``error`` carries the loss."""
    if error is None or core.ending.carries_loss(error):
        return
    end = f"{type(outcome).__name__}: {outcome}"
    with suppress(Exception):
        error.add_note(f"flushq: the queue ended with {end}")
    with suppress(Exception):
        logger.error("the queue ended with %s", end, exc_info=outcome)
