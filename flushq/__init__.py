"""A batching queue for asyncio and for threads: a core without I/O decides when to flush."""

from flushq.aio.batched import Batched, Loader
from flushq.aio.calls import FlushFn, OnFailure
from flushq.aio.handler import FailureHandler
from flushq.aio.queue import FlushQueue
from flushq.aio.receipt import Receipt
from flushq.aio.stream import BatchStream, batches
from flushq.errors import (
    Displaced,
    Dropped,
    FlushFailed,
    FlushqError,
    ItemFailed,
    ItemTooLarge,
    PartialFailure,
    PolicyError,
    QueueClosed,
    QueueEnded,
    QueueFull,
    ShutdownTimeout,
)
from flushq.facts import QueueState
from flushq.outcomes import (
    Drop,
    Fail,
    Failure,
    FlushReport,
    QueueStats,
    Retry,
    Split,
    Verdict,
)
from flushq.policies import (
    AlarmPolicy,
    BudgetPolicy,
    IntervalPolicy,
    NaturalPolicy,
    PausePolicy,
)
from flushq.policy import Decision, Flush, FlushPolicy, Wait
from flushq.telling import OnReport

__version__ = "0.1.0"

__all__ = [
    "AlarmPolicy",
    "BatchStream",
    "Batched",
    "BudgetPolicy",
    "Decision",
    "Displaced",
    "Drop",
    "Dropped",
    "Fail",
    "Failure",
    "FailureHandler",
    "Flush",
    "FlushFailed",
    "FlushFn",
    "FlushPolicy",
    "FlushQueue",
    "FlushReport",
    "FlushqError",
    "IntervalPolicy",
    "ItemFailed",
    "ItemTooLarge",
    "Loader",
    "NaturalPolicy",
    "OnFailure",
    "OnReport",
    "PartialFailure",
    "PausePolicy",
    "PolicyError",
    "QueueClosed",
    "QueueEnded",
    "QueueFull",
    "QueueState",
    "QueueStats",
    "Receipt",
    "Retry",
    "ShutdownTimeout",
    "Split",
    "Verdict",
    "Wait",
    "batches",
]
