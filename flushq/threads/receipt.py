"""The receipt of one item, for threads."""

from typing import Generic, TypeVar

from flushq.core.receipts import Completion
from flushq.threads.primitives import Waiter, check_timeout, end_of
from flushq.threads.runner import Runner

T = TypeVar("T")


class Receipt(Generic[T]):
    """The receipt of an item: the method ``result`` tells how the item ended.

    A receipt comes from :meth:`FlushQueue.submit`. Any thread may use it, any number of times.

    Attributes:
        item: The item, with all merges so far; for a duplicate, the item that the queue kept.
    """

    __slots__ = ("_completion", "_runner")

    def __init__(self, runner: Runner[T], completion: Completion[T]) -> None:
        self._completion = completion
        self._runner = runner

    @property
    def item(self) -> T:
        """The item, with all merges so far; for a duplicate, the item that the queue kept."""
        return self._completion.item

    def done(self) -> bool:
        """Return whether the item has ended, delivered or not."""
        return self._completion.ended

    def result(self, timeout: float | None = None) -> None:
        """Wait until the item has ended; return None if it was delivered, otherwise raise.

        Raises:
            TimeoutError: The item has not ended within ``timeout`` seconds (None: no limit).
                Another call may wait for the item again.
            ItemFailed: ``flush_fn`` raised for the item; that exception is the ``__cause__``.
            Dropped: ``flush_fn`` raised for the item, and the failure handler dropped the item.
            Displaced: The queue was full and displaced the item.
            FlushFailed, PolicyError, ShutdownTimeout: The queue ended, and the item was lost.
            RuntimeError: Called inside flush_fn or on_report before the item has ended; or in the
                child of a fork, which does not have the item.
            TypeError, ValueError: ``timeout`` is not a number of seconds that is at least 0.
        """
        check_timeout(timeout)
        completion, runner, until = self._completion, self._runner, end_of(timeout)
        if runner.belongs_to_parent():
            raise RuntimeError(
                f"the receipt of {self.item!r} belongs to the parent of this process; it cannot be "
                "used in the child of a fork"
            )
        if not completion.ended:
            runner.check_not_inside("waiting for an item")
        runner.entrance.locked(Awaited[T], completion).wait(runner, until)

    def __repr__(self) -> str:
        return f"<Receipt of {self.item!r}, {'ended' if self.done() else 'not ended'}>"


class Awaited(Generic[T]):
    """A caller that waits for the end of an item. Make this object with the lock held."""

    def __init__(self, completion: Completion[T]) -> None:
        self._completion = completion
        self._waiter = Waiter()
        if completion.ended:
            self._waiter.set_result(None)
        else:
            completion.join(self._waiter)

    def wait(self, runner: Runner[T], until: float) -> None:
        """Wait until the item has ended; raise its failure, or TimeoutError at ``until``."""
        completion = self._completion
        try:
            runner.wait_for(self._waiter, until)
        finally:
            if not completion.ended:
                runner.entrance.locked(completion.leave, self._waiter)
        if not completion.ended:
            raise TimeoutError(f"timed out waiting for {completion.item!r}")
        if completion.failure is not None:
            raise completion.failure()
