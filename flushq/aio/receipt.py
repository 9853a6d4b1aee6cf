"""The receipt of one item, for asyncio."""

from collections.abc import Generator
from typing import Any, Generic, TypeVar

from flushq.aio.runner import Runner
from flushq.core.core import Core
from flushq.core.receipts import Completion

T = TypeVar("T")


class Receipt(Generic[T]):
    """The receipt of an item: ``await receipt`` returns if the item was delivered, else raises.

    A receipt comes from :meth:`FlushQueue.submit`, and may be awaited any number of times. The
    result is None. A cancellation ends only the wait.

    Attributes:
        item: The item, with all merges so far; for a duplicate, the item that the queue kept.

    Raises:
        ItemFailed: ``flush_fn`` raised for the item; that exception is the ``__cause__``.
        Dropped: ``flush_fn`` raised for the item, and the failure handler dropped the item.
        Displaced: The queue was full and displaced the item.
        FlushFailed, PolicyError, ShutdownTimeout: The queue ended, and the item was lost.
        RuntimeError: Awaited inside flush_fn, or on another event loop, before the item has ended.
    """

    __slots__ = ("_completion", "_runner")

    def __init__(self, completion: Completion[T], runner: Runner[T]) -> None:
        self._completion = completion
        self._runner = runner

    def __await__(self) -> Generator[Any, None, None]:
        completion, runner = self._completion, self._runner
        while not completion.ended:
            runner.check_may_wait()
            yield from runner.wait(completion).__await__()
        if completion.failure is not None:
            raise completion.failure()

    @property
    def item(self) -> T:
        """The item, with all merges so far; for a duplicate, the item that the queue kept."""
        return self._completion.item

    def done(self) -> bool:
        """Return whether the item has ended, delivered or not."""
        return self._completion.ended

    def __repr__(self) -> str:
        return f"<Receipt of {self.item!r}, {'ended' if self.done() else 'not ended'}>"


def receipt_of(item: T, kept_number: int | None, core: Core[T], runner: Runner[T]) -> Receipt[T]:
    """Return the receipt of an item that was just accepted; for a duplicate, of the kept item.

    Until the item has ended, all callers get the same receipt for it.
    """
    completion = core.receipts.completion_of(item, kept_number)
    if completion.receipt is None:
        completion.receipt = Receipt(completion, runner)
    receipt: Receipt[T] = completion.receipt
    return receipt
