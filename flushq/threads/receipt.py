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
        item: The item; of a duplicate, the one that stayed, as merged by now.
    """

    __slots__ = ("_completion", "_runner")

    def __init__(self, runner: Runner[T], completion: Completion[T]) -> None:
        self._completion = completion
        self._runner = runner

    @property
    def item(self) -> T:
        """The item; see above."""
        return self._completion.item

    def done(self) -> bool:
        """Whether the item has ended, delivered or not."""
        return self._completion.ended

    def result(self, timeout: float | None = None) -> None:
        """Return when the item was delivered.

        Raises:
            TimeoutError: It has not ended within ``timeout`` seconds; ask again.
            ItemFailed: ``flush_fn`` raised for it; its exception is the ``__cause__``.
            Dropped: The same, and the failure handler dropped it.
            Displaced: The queue was full, and gave it up.
            FlushFailed, PolicyError, ShutdownTimeout: The queue ended first.
            RuntimeError: Called inside flush_fn or on_report, before the end; or in the child of a
                fork, where nothing is known of the item.
            TypeError, ValueError: The timeout is not a number of seconds.
        """
        check_timeout(timeout)
        completion, runner, until = self._completion, self._runner, end_of(timeout)
        if runner.is_orphan():
            raise RuntimeError(f"{self.item!r} was accepted by the parent of this process")
        if not completion.ended:
            runner.refuse_inside("waiting for an item")
        runner.entrance.locked(Awaited[T], completion).wait(runner, until)

    def __repr__(self) -> str:
        return f"<Receipt of {self.item!r}, {'ended' if self.done() else 'not ended'}>"


class Awaited(Generic[T]):
    """The end of an item that a caller waits for; made with the lock held."""

    def __init__(self, completion: Completion[T]) -> None:
        self._completion = completion
        self._waiter = Waiter()
        if completion.ended:
            self._waiter.set_result(None)
        else:
            completion.join(self._waiter)

    def wait(self, runner: Runner[T], until: float) -> None:
        """Wait, until then at the latest, and raise why the item was not delivered."""
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
