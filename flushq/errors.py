"""The exceptions of flushq: those that it raises, and one that ``flush_fn`` may raise.

::

    FlushqError
    ├── QueueFull           there is no room, and the call cannot wait or would wait for ever
    ├── QueueClosed         the queue is closing or closed (also a RuntimeError)
    ├── ItemTooLarge        the item is too heavy for a batch or for the queue (also a ValueError)
    ├── QueueEnded          the queue failed, or was closed and lost items; the exception lists them
    │   ├── FlushFailed     flush_fn raised an exception
    │   ├── ShutdownTimeout the close was cut short
    │   └── PolicyError     the policy or the throttle raised, or gave an invalid answer
    ├── ItemFailed          the item of a receipt or of deliver() was not delivered
    │   ├── Dropped         the failure handler dropped the item
    │   └── Displaced       the queue was full and displaced the item
    └── PartialFailure      raised by flush_fn: some items failed, the others were delivered

The first three refuse one item or one call, and change nothing: the item was not accepted.
QueueEnded and its subclasses mean that the queue has ended or is about to end. They carry two lists
of the queue, each in order of acceptance: ``undelivered`` (``flush_fn`` was never called with these
items) and ``in_doubt`` (``flush_fn`` was called with these items, and raised or was interrupted).
Both lists are complete once the queue has ended.

A bad argument raises a plain ValueError or TypeError that shows the value, in the call that passes
the argument.
"""

import reprlib
from collections.abc import Mapping
from typing import Any

from flushq.arguments import shown


class FlushqError(Exception):
    """The base class of every exception that flushq defines."""


class QueueFull(FlushqError):
    """There is no room for the item, and this call cannot wait; the item was not accepted."""


class QueueClosed(FlushqError, RuntimeError):
    """The queue is closing or closed: it takes no item and no flush(), and cannot start again."""


class ItemTooLarge(FlushqError, ValueError):
    """The item alone weighs more than a batch or a queue may hold; the item was not accepted."""


class QueueEnded(FlushqError):
    """The queue failed, or was closed with items that were not delivered.

    The queue has ended, or is about to end. ``undelivered`` and ``in_doubt`` are the lists of the
    queue itself, in order of acceptance. The lists may still grow while the last flushes run, and
    are complete once the queue has ended. Both are empty if the policy failed after all items were
    delivered.
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
        """Return the message, with the present number of items in each list."""
        lists = f"{len(self.undelivered)} undelivered, {len(self.in_doubt)} in doubt"
        return f"{super().__str__()} ({lists})"


class FlushFailed(QueueEnded):
    """``flush_fn`` raised an exception, which is the ``__cause__``; no further flush starts."""


class ShutdownTimeout(QueueEnded):
    """The close was cut short, by its limit or by a cancellation, and items were not delivered.

    This is not a TimeoutError: a timeout around a receipt means that the item may still be
    delivered, but a ShutdownTimeout means that the item was lost.

    If running flushes were cut short, the exception of the first of them is the ``__cause__``.
    """


class PolicyError(QueueEnded):
    """The policy or the throttle raised (see ``__cause__``), or gave an invalid answer."""


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
        """Return a message with the item, shortened, and the cause."""
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
        """Return a message with the item, shortened."""
        return f"{self._label}{reprlib.repr(self.item)} was displaced: the queue was full"


class PartialFailure(FlushqError):
    """An exception that ``flush_fn`` raises if some items failed and the others were delivered.

    The failure handler is asked about the failed items alone; without a handler the queue ends.

    ``errors`` must not be empty, its keys must be indices of the list that ``flush_fn`` was called
    with, and its values must be exceptions. Otherwise nobody knows which items were delivered. Then
    the handler is not asked, all items of that list are in doubt, and the queue ends with a
    FlushFailed. Its ``__cause__`` is a ValueError that says what is wrong with ``errors``.

    Attributes:
        errors: The exception of each failed item, by the index of the item in the list of the call.
    """

    def __init__(self, errors: Mapping[int, BaseException]) -> None:
        super().__init__(errors)
        self.errors = errors
