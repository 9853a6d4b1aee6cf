"""A batching queue for asyncio services, with a pure state machine that decides when to flush."""

from flushq.aio.batched import Batched
from flushq.aio.queue import FlushQueue
from flushq.aio.receipt import Receipt
from flushq.errors import (
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
from flushq.policy import Decision, Flush, FlushPolicy, QueueState, Wait

__all__ = [
    "AlarmPolicy",
    "Batched",
    "BudgetPolicy",
    "Decision",
    "Drop",
    "Dropped",
    "Fail",
    "Failure",
    "Flush",
    "FlushFailed",
    "FlushPolicy",
    "FlushQueue",
    "FlushReport",
    "FlushqError",
    "IntervalPolicy",
    "ItemFailed",
    "ItemTooLarge",
    "NaturalPolicy",
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
]
