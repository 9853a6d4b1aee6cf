"""Who is inside a running flush: of all drivers, told by a context variable.

Inside means: in the call of flush_fn, or in a task or thread that runs in a copy of its context, as
long as that flush runs. What is refused inside is decided by Ending.refusal and Core.refuse_inside,
and a deadlock by Admission.break_deadlock.
"""

from contextvars import ContextVar
from typing import Any, TypeVar

from flushq.core.batch import Batch
from flushq.core.batcher import Batcher

T = TypeVar("T")

_flushes: ContextVar[tuple[Batch[Any], ...]] = ContextVar("flushq_flushes", default=())

current_flushes = _flushes.get
"""The flushes that the caller is part of, of all queues, ended ones included."""


def go_inside(batch: Batch[Any]) -> None:
    """The context of the caller is that of this flush from now on."""
    _flushes.set((*_flushes.get(), batch))


def flush_inside(batcher: Batcher[T]) -> Batch[T] | None:
    """The running flush of this queue that the caller is part of."""
    flushes = _flushes.get()
    return next(filter(batcher.runs, flushes), None) if flushes else None
