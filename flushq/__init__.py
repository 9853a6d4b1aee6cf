"""A batching queue for asyncio services, with a pure state machine that decides when to flush."""

from flushq.errors import (
    FlushFailed,
    FlushqError,
    ItemTooLarge,
    PolicyError,
    QueueClosed,
    QueueEnded,
    QueueFull,
    ShutdownTimeout,
)
from flushq.policies import (
    AlarmPolicy,
    BudgetPolicy,
    IntervalPolicy,
    NaturalPolicy,
    PausePolicy,
)
from flushq.policy import Decision, Flush, FlushPolicy, QueueState, Wait
from flushq.queue import FlushQueue

__all__ = [
    "AlarmPolicy",
    "BudgetPolicy",
    "Decision",
    "Flush",
    "FlushFailed",
    "FlushPolicy",
    "FlushQueue",
    "FlushqError",
    "IntervalPolicy",
    "ItemTooLarge",
    "NaturalPolicy",
    "PausePolicy",
    "PolicyError",
    "QueueClosed",
    "QueueEnded",
    "QueueFull",
    "QueueState",
    "ShutdownTimeout",
    "Wait",
]
