"""The queue for threads: its producers block, and its flush function is a plain function."""

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
