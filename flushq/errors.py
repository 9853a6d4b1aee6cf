"""The exceptions that flushq raises, and one that ``flush_fn`` may raise.

::

    FlushqError
    ├── QueueFull           there is no room, and the call cannot wait or would wait for ever
    ├── QueueClosed         the queue is closing or closed (also a RuntimeError)
    ├── ItemTooLarge        the item is too heavy for a batch or for the queue (also a ValueError)
    ├── QueueEnded          the queue failed, or was closed and lost items; the exception lists them
    │   ├── FlushFailed     flush_fn or the failure handler raised an exception
    │   ├── ShutdownTimeout the close of the queue was cut short, and items were lost
    │   └── PolicyError     the policy or the throttle raised an exception or gave an invalid answer
    ├── ItemFailed          the item of a receipt or of deliver() was not delivered
    │   ├── Dropped         the failure handler dropped the item
    │   └── Displaced       the queue was full and displaced the item
    └── PartialFailure      raised by flush_fn: some items failed, the others were delivered

QueueFull, QueueClosed and ItemTooLarge mean that the queue has refused one call. The queue is
unchanged: an item that was passed to this call was not accepted. QueueEnded and its subclasses mean
that the queue has ended or is about to end. These exceptions have two lists of lost items:
``undelivered`` (``flush_fn`` was never called with these items) and ``in_doubt`` (``flush_fn`` was
called with these items, and raised an exception or was interrupted). Each list is in order of
acceptance, and is complete once the queue has ended.

A call with a bad argument raises a plain ValueError or TypeError, which shows the value.
"""

import reprlib
from collections.abc import Mapping
from typing import Any

from flushq.arguments import shown


class FlushqError(Exception):
    """The base class of every exception that flushq defines."""


class QueueFull(FlushqError):
    """There is no room for the item, and the call cannot wait, or would wait for ever.

    The item was not accepted.
    """


class QueueClosed(FlushqError, RuntimeError):
    """The queue is closing or closed: it refuses items and calls of flush(), and cannot start."""


class ItemTooLarge(FlushqError, ValueError):
    """The item, alone or merged with a waiting item, is too heavy for a batch or the queue.

    The item was not accepted.
    """


class QueueEnded(FlushqError):
    """The queue failed, or was closed and lost items.

    The queue has ended, or is about to end. ``undelivered`` and ``in_doubt`` are the queue's own
    lists of lost items, not copies. They are in order of acceptance. They may still grow while the
    last flushes run, and are complete once the queue has ended. Both lists are empty if the policy
    or the throttle failed after all items were delivered.
    """

    def __init__(
        self,
        message: str,
        undelivered: list[Any] | None = None,
        in_doubt: list[Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.undelivered: list[Any] = [] if undelivered is None else undelivered
        self.in_doubt: list[Any] = [] if in_doubt is None else in_doubt

    def __str__(self) -> str:
        """Return the message, and the number of items that each list holds now."""
        lists = f"{len(self.undelivered)} undelivered, {len(self.in_doubt)} in doubt"
        return f"{super().__str__()} ({lists})"


class FlushFailed(QueueEnded):
    """A flush failed: ``flush_fn`` or the failure handler raised an exception (``__cause__``).

    No flush starts any more.
    """


class ShutdownTimeout(QueueEnded):
    """The close of the queue was cut short, and items were lost.

    A close is cut short by ``max_shutdown_wait``, by a cancellation or by an interrupt
    (KeyboardInterrupt). If running flushes were cut short, the first exception that any of these
    flushes raised is the ``__cause__``.

    A ShutdownTimeout is not a TimeoutError. If the wait for a receipt ends with a TimeoutError, the
    item may still be delivered. If the wait ends with a ShutdownTimeout, the item was lost.
    """


class PolicyError(QueueEnded):
    """The policy or the throttle raised an exception (``__cause__``) or gave an invalid answer."""


class ItemFailed(FlushqError):
    """``flush_fn`` raised an exception for this item; that exception is the ``__cause__``.

    Attributes:
        item: The item.
    """

    _end = "failed"

    def __init__(self, item: object, cause: BaseException | None, label: str = "") -> None:
        super().__init__(item, cause, label)
        self.item = item
        self.__cause__ = cause
        self._label = label

    def __str__(self) -> str:
        """Return a message with the item (shortened if it is long) and the cause."""
        return f"{self._label}{reprlib.repr(self.item)} {self._end}: {shown(self.__cause__)}"


class Dropped(ItemFailed):
    """The failure handler dropped this item; the exception of ``flush_fn`` is the ``__cause__``."""

    _end = "was dropped"


class Displaced(ItemFailed):
    """The queue was full and displaced this item; ``flush_fn`` is never called with the item."""

    def __init__(self, item: object, label: str = "") -> None:
        super().__init__(item, None, label)
        self.args = item, label

    def __str__(self) -> str:
        """Return a message with the item (shortened if it is long)."""
        return f"{self._label}{reprlib.repr(self.item)} was displaced: the queue was full"


class PartialFailure(FlushqError):
    """An exception for ``flush_fn`` to raise if some items failed and the others were delivered.

    The failure handler is asked only about the failed items. Without a handler the queue ends.

    ``errors`` must not be empty. Its keys must be indices of the list that ``flush_fn`` was called
    with, and its values must be exceptions. Otherwise nobody knows which items were delivered. Then
    the handler is not asked, all items of that list are in doubt, and the queue ends with a
    FlushFailed. The ``__cause__`` of this FlushFailed is a ValueError that says what is wrong with
    ``errors``.

    Attributes:
        errors: The exceptions of the failed items. The key of an exception is the index of its item
            in the list that ``flush_fn`` was called with.
    """

    def __init__(self, errors: Mapping[int, BaseException]) -> None:
        super().__init__(errors)
        self.errors = errors
