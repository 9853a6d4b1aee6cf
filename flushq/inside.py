"""The flushes that a caller is inside of, in a context variable that all drivers share.

A caller is inside a flush if it runs in a call of flush_fn or of the failure handler, or in a task
or thread that has copied the context of such a call. The caller is inside only while the flush
runs. Three methods need to know this: Ending.refusal and Core.check_not_inside decide which methods
of a queue can be called inside a flush, and Admission.break_deadlock detects a deadlock.
"""

from contextvars import ContextVar
from typing import Any, TypeVar

from flushq.core.batch import Batch
from flushq.core.batcher import Batcher

T = TypeVar("T")

_flushes: ContextVar[tuple[Batch[Any], ...]] = ContextVar("flushq_flushes", default=())

current_flushes = _flushes.get
"""Return each flush in the caller's context, whatever its queue; some of them may have ended."""


def go_inside(batch: Batch[Any]) -> None:
    """Add the flush of this batch to the caller's context: the caller is inside the flush now."""
    _flushes.set((*_flushes.get(), batch))


def flush_inside(batcher: Batcher[T]) -> Batch[T] | None:
    """If the caller is inside a running flush of this queue, return the flush; else return None."""
    flushes = _flushes.get()
    return next(filter(batcher.runs, flushes), None) if flushes else None
