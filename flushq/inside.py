"""The flushes that a caller is inside of: a context variable holds them, for all drivers.

A caller is inside a flush if it runs in a call of flush_fn or of the failure handler, or in a task
or thread with a copy of the context of such a call. The caller is inside only while the flush runs.
Ending.refusal and Core.check_not_inside decide which calls are refused inside a flush, and
Admission.break_deadlock decides when there is a deadlock.
"""

from contextvars import ContextVar
from typing import Any, TypeVar

from flushq.core.batch import Batch
from flushq.core.batcher import Batcher

T = TypeVar("T")

_flushes: ContextVar[tuple[Batch[Any], ...]] = ContextVar("flushq_flushes", default=())

current_flushes = _flushes.get
"""Return the flushes, of all queues, in the context of the caller; some may have ended."""


def go_inside(batch: Batch[Any]) -> None:
    """Add this flush to the context of the caller: from now on the caller is inside of it."""
    _flushes.set((*_flushes.get(), batch))


def flush_inside(batcher: Batcher[T]) -> Batch[T] | None:
    """Return the running flush of this queue that the caller is inside of, or None."""
    flushes = _flushes.get()
    return next(filter(batcher.runs, flushes), None) if flushes else None
