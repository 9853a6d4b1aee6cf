"""The queue for threads: a waiting producer blocks its thread, and flush_fn is not async."""

from flushq.threads.batched import Batched, Loader
from flushq.threads.calls import FlushFn, OnFailure
from flushq.threads.handler import FailureHandler
from flushq.threads.queue import FlushQueue
from flushq.threads.receipt import Receipt
from flushq.threads.stream import BatchStream, batches

__all__ = [
    "BatchStream",
    "Batched",
    "FailureHandler",
    "FlushFn",
    "FlushQueue",
    "Loader",
    "OnFailure",
    "Receipt",
    "batches",
]
