"""What a driver tells beside what its calls return: reports, log records, notes, warnings.

Nothing that is told may stop a queue: a logging that fails is ignored, and so is an exception that
takes no notes. All of it may run code of the user (a handler of logging, on_report), so a driver
holds no lock meanwhile.
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
    """Hand out the reports of the flushes that have ended; what on_report raises is logged."""
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
    """Log that the queue has failed, if it has."""
    if failure is not None:
        with suppress(Exception):
            kind = type(failure).__name__
            logger.error("the queue has failed with %s: %s", kind, failure, exc_info=failure)


def tell_displaced(core: Core[Any], now: float) -> None:
    """Log that the queue displaces items, if it is time to; and why items that came late were."""
    count = core.admission.news(now)
    if count:
        total, bounds = core.batcher.displaced, core.admission.bounds
        what = "%sthe queue is full (%s) and displaces items: %d since it was last told, %d in all"
        with suppress(Exception):
            logger.warning(what, core.label, bounds, count, total)
    while core.admission.unmerged:
        _tell_unmerged(core, core.admission.unmerged.pop(0))


def _tell_unmerged(core: Core[Any], why: Exception) -> None:
    what = "%san item was displaced that a finalizer or a signal handler has brought: %s"
    with suppress(Exception):
        logger.error(what, core.label, shown(why), exc_info=why)


def tell_dropped(core: Core[Any], items: int, source: object) -> None:
    """Log and warn that a queue is gone, with so many items in it."""
    what = f"a FlushQueue{core.name} was dropped with {items} items in it"
    with suppress(Exception):
        logger.error(what)
    warnings.warn(what, ResourceWarning, stacklevel=3, source=source)


def tell_loss(core: Core[Any], what: str) -> None:
    """Log what was lost of a queue that nobody asks any more."""
    outcome = core.ending.outcome()
    if outcome is not None:
        logger.error("%s%s: %s", core.label, what, outcome)


def tell_late(core: Core[Any], late: BaseException | None, error: BaseException | None) -> None:
    """Raise what a source has raised when it was stopped; log it if the block raises ``error``."""
    if late is None:
        return
    if error is None:
        raise late
    with suppress(Exception):
        logger.error("%sthe source raised while it was stopped", core.label, exc_info=late)


def tell_unburied(item: object, trouble: BaseException) -> None:
    """Log that no dead letter could be written of an item."""
    with suppress(Exception):
        logger.error("no dead letter yet, it is kept: %s", reprlib.repr(item), exc_info=trouble)


def raise_outcome(
    core: Core[T], interruption: BaseException | None, error: BaseException | None = None
) -> None:
    """Raise what has interrupted the wait for the end, else the outcome.

    The outcome is not raised if the ``error`` of a body goes on by itself; it is told beside what
    is raised.
    """
    outcome = core.ending.outcome()
    if outcome is not None:
        _note_loss(core, outcome, error if interruption is None else interruption)
    if interruption is not None:
        raise interruption
    if outcome is not None and error is None:
        raise outcome


def _note_loss(core: Core[T], outcome: BaseException, error: BaseException | None) -> None:
    """Tell of the outcome beside another exception, unless that tells of it already."""
    if error is None or core.ending.carries_loss(error):
        return
    end = f"{type(outcome).__name__}: {outcome}"
    with suppress(Exception):
        error.add_note(f"flushq: the queue ended with {end}")
    with suppress(Exception):
        logger.error("the queue ended with %s", end, exc_info=outcome)
