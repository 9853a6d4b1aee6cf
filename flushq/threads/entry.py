"""An item that a producer wants to enqueue, with the facts about this producer."""

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

import attrs

from flushq.core.batch import Batch
from flushq.core.need import NOTHING, Need
from flushq.core.receipts import Completion
from flushq.threads.primitives import Waiter

T = TypeVar("T")


@attrs.define(eq=False)
class Entry(Generic[T]):
    """An item that a producer wants to enqueue. The *caller* is this producer.

    Attributes:
        item: The item.
        key, weight: The key and the weight of the item, computed once.
        inside: The running flush that the caller is inside of (flushq.inside), or None.
        waits: Whether the caller waits if there is no room. False: the caller gets QueueFull.
        until: The time at which the caller stops waiting.
        make_result: A function that makes the return value for the caller from the completion of
            the item. None: the caller gets None.
        on_accepted: A function that is called in the step that accepts the item. It gets the item
            or, for a duplicate, the item with the same key that stays in the queue. None: no
            function is called.
        waiter: The waiter of the caller in the line of producers. None until the caller joins this
            line.
        need: The room for which the caller waits in the line of producers. NOTHING until the caller
            joins the line.
        turn: The turn of the caller (flushq.core.waitlist). 0 until the caller joins the line.
        is_displaced: Whether the item was accepted and displaced at once.
        tried_keeper: Whether the caller has tried to start the keeper (flushq.threads.keeper).
    """

    item: T
    key: Hashable
    weight: float
    inside: Batch[T] | None
    waits: bool
    until: float
    make_result: Callable[[Completion[T]], Any] | None
    on_accepted: Callable[[T], object] | None
    waiter: Waiter | None = None
    need: Need = NOTHING
    turn: int = 0
    is_displaced: bool = False
    tried_keeper: bool = False
