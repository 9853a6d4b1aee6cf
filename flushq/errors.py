"""What flushq raises, and the one thing that ``flush_fn`` may raise for it.

::

    FlushqError
    ├── QueueFull           enqueue_nowait found no room, or waiting for room could never end
    ├── QueueClosed         the queue is closing or closed               (also a RuntimeError)
    ├── ItemTooLarge        one item weighs more than a batch or a queue may  (also a ValueError)
    ├── QueueEnded          the queue ended by a failure, or with items left; it lists them
    │   ├── FlushFailed     flush_fn raised
    │   ├── ShutdownTimeout the close was cut short
    │   └── PolicyError     the policy or the throttle raised, or answered nonsense
    ├── ItemFailed          the item of this receipt was not delivered
    │   ├── Dropped         the failure handler dropped it
    │   └── Displaced       the queue was full, and is one that displaces items then
    └── PartialFailure      raised by flush_fn: some items failed, the others were delivered

The first three refuse one item or one call, and change nothing: the item was not accepted.
QueueEnded and its kinds mean that the queue has ended. They carry two lists, which are the queue's
own and are complete once it has ended: ``undelivered`` (``flush_fn`` was never called with these
items) and ``in_doubt`` (it was called, and raised or was interrupted), in order of acceptance.

A bad argument is a plain ValueError or TypeError that shows the value, raised by the call that
passes it.
"""

import reprlib
from collections.abc import Mapping
from typing import Any

from flushq.arguments import shown


class FlushqError(Exception):
    """The base of every error that flushq defines."""


class QueueFull(FlushqError):
    """There is no room for the item, and this call cannot wait. It was not accepted."""


class QueueClosed(FlushqError, RuntimeError):
    """The queue is closing or closed: it takes no item and no flush(), and is not started again."""


class ItemTooLarge(FlushqError, ValueError):
    """The item alone weighs more than a batch or a queue may. It was not accepted."""


class QueueEnded(FlushqError):
    """The queue has ended, or is about to: by a failure, or with items that were not delivered.

    ``undelivered`` and ``in_doubt`` are the lists of the queue itself, in order of acceptance.
    They may still grow while the last flushes run, and are complete once the queue has ended.
    If all was delivered before the policy failed, both are empty.
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
        """The message, and how many items are in each list by now."""
        lists = f"{len(self.undelivered)} undelivered, {len(self.in_doubt)} in doubt"
        return f"{super().__str__()} ({lists})"


class FlushFailed(QueueEnded):
    """``flush_fn`` raised; its exception is the ``__cause__``. No further flush is started."""


class ShutdownTimeout(QueueEnded):
    """The close was cut short, by its limit or a cancellation, with items not delivered.

    It is not a TimeoutError: a timeout around a receipt says that the item may still be delivered,
    and this says that it was lost.

    If a flush that was cancelled for it raised, that exception is the ``__cause__``.
    """


class PolicyError(QueueEnded):
    """The policy or the throttle raised (that is the ``__cause__``), or gave no sound answer."""


class ItemFailed(FlushqError):
    """``flush_fn`` raised for this item; its exception is the ``__cause__``.

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
        """The item, shortened, and the cause."""
        return f"{self._label}{reprlib.repr(self.item)} {self._end}: {shown(self.__cause__)}"


class Dropped(ItemFailed):
    """The failure handler dropped this item; what ``flush_fn`` raised is the ``__cause__``."""

    _end = "was dropped"


class Displaced(ItemFailed):
    """The queue was full, and gave this item up; ``flush_fn`` is never called with it."""

    def __init__(self, item: object, label: str = "") -> None:
        super().__init__(item, None, label)
        self.args = item, label

    def __str__(self) -> str:
        """The item, shortened."""
        return f"{self._label}{reprlib.repr(self.item)} was displaced: the queue was full"


class PartialFailure(FlushqError):
    """To be raised by ``flush_fn``: the items at these indices failed, the others are delivered.

    The failure handler is asked about these items alone; without one the queue ends. If an index
    is none of the list that ``flush_fn`` was called with, or there is none at all, nobody knows
    what was delivered: the handler is not asked, all of the list is in doubt, and the queue ends
    with a FlushFailed whose ``__cause__`` is a ValueError that says what is wrong.

    Attributes:
        errors: The exception of each item that failed, by its index in the list of that call.
    """

    def __init__(self, errors: Mapping[int, BaseException]) -> None:
        super().__init__(errors)
        self.errors = errors
