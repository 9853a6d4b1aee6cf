"""The receipt of one item, for asyncio."""

from collections.abc import Generator
from typing import Any, Generic, TypeVar

from flushq.aio.runner import Runner
from flushq.core.core import Core
from flushq.core.receipts import Completion

T = TypeVar("T")


class Receipt(Generic[T]):
    """To be awaited, any number of times: returns None once the item was delivered.

    It comes from :meth:`FlushQueue.submit`. A cancellation ends the waiting alone.

    Attributes:
        item: The item; of a duplicate, the one that stayed, as merged by now.

    Raises:
        ItemFailed: ``flush_fn`` raised for it; its exception is the ``__cause__``.
        Dropped: The same, and the failure handler dropped it.
        Displaced: The queue was full, and gave it up.
        FlushFailed, PolicyError, ShutdownTimeout: The queue ended first.
        RuntimeError: Awaited inside flush_fn, before the end, or on another event loop.
    """

    __slots__ = ("_completion", "_runner")

    def __init__(self, completion: Completion[T], runner: Runner[T]) -> None:
        self._completion = completion
        self._runner = runner

    def __await__(self) -> Generator[Any, None, None]:
        completion, runner = self._completion, self._runner
        while not completion.ended:
            runner.check_waiter()
            yield from runner.wait(completion).__await__()
        if completion.failure is not None:
            raise completion.failure()

    @property
    def item(self) -> T:
        """The item; see above."""
        return self._completion.item

    def done(self) -> bool:
        """Whether the item has ended, delivered or not."""
        return self._completion.ended

    def __repr__(self) -> str:
        return f"<Receipt of {self.item!r}, {'ended' if self.done() else 'not ended'}>"


def receipt_of(item: T, stays: int | None, core: Core[T], runner: Runner[T]) -> Receipt[T]:
    """The receipt of an item that has just come (or stays instead): one for all who ask."""
    completion = core.receipts.completion_of(item, stays)
    if completion.receipt is None:
        completion.receipt = Receipt(completion, runner)
    receipt: Receipt[T] = completion.receipt
    return receipt
