"""The receipt of one item, for threads."""

from typing import Generic, TypeVar

from flushq.core.receipts import Completion
from flushq.threads.primitives import Waiter, check_timeout, end_of
from flushq.threads.runner import Runner

T = TypeVar("T")


class Receipt(Generic[T]):
    """What becomes of an item, to be asked from any thread, any number of times.

    It comes from :meth:`FlushQueue.submit`.

    Attributes:
        item: The item; of a duplicate, the one that stayed.
    """

    __slots__ = ("_completion", "_runner", "item")

    def __init__(self, runner: Runner[T], completion: Completion[T]) -> None:
        self.item = completion.item
        self._completion = completion
        self._runner = runner

    def done(self) -> bool:
        """Whether the item has ended, delivered or not."""
        return self._completion.ended

    def result(self, timeout: float | None = None) -> None:
        """Return when the item was delivered.

        Raises:
            TimeoutError: It has not ended within ``timeout`` seconds; ask again.
            ItemFailed: ``flush_fn`` raised for it; its exception is the ``__cause__``.
            Dropped: The same, and the failure handler dropped it.
            FlushFailed, PolicyError, ShutdownTimeout: The queue ended first.
            RuntimeError: Called inside flush_fn or on_report, before the end; or in the child of a
                fork, where nothing is known of the item.
            TypeError, ValueError: The timeout is not a number of seconds.
        """
        check_timeout(timeout)
        await_completion(self._completion, self._runner, end_of(timeout))

    def __repr__(self) -> str:
        return f"<Receipt of {self.item!r}, {'ended' if self.done() else 'not ended'}>"


def await_completion(completion: Completion[T], runner: Runner[T], until: float) -> None:
    """Wait for the end of an item, until then, and raise why it was not delivered."""

    def join(waiter: Waiter) -> None:
        if completion.ended:
            waiter.set_result(None)
        else:
            completion.join(waiter)

    if runner.is_orphan():
        raise RuntimeError(f"{completion.item!r} was accepted by the parent of this process")
    if not completion.ended:
        runner.refuse_inside("waiting for an item")
        runner.wait(until, join, completion.leave)
    if not completion.ended:
        raise TimeoutError(f"{completion.item!r} has not ended in time")
    if completion.failure is not None:
        raise completion.failure()
