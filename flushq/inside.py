"""The flushes that a caller is inside of: a context variable holds them, for all drivers.

A caller is inside a flush if it runs in a call of flush_fn or of the failure handler, or in a task
or thread with a copy of the context of such a call. It is inside only as long as the flush runs.
Ending.refusal and Core.refuse_inside decide which calls are refused inside a flush, and
Admission.break_deadlock decides when there is a deadlock.
"""

from contextvars import ContextVar
from typing import Any, TypeVar

from flushq.core.batch import Batch
from flushq.core.batcher import Batcher

T = TypeVar("T")

_flushes: ContextVar[tuple[Batch[Any], ...]] = ContextVar("flushq_flushes", default=())

current_flushes = _flushes.get
"""Return the flushes, of all queues, that the caller is inside of, including ended ones."""


def go_inside(batch: Batch[Any]) -> None:
    """Record that the context of the caller is inside this flush, from now on."""
    _flushes.set((*_flushes.get(), batch))


def flush_inside(batcher: Batcher[T]) -> Batch[T] | None:
    """Return the running flush of this queue that the caller is inside of, or None."""
    flushes = _flushes.get()
    return next(filter(batcher.runs, flushes), None) if flushes else None
