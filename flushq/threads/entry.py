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
        inside: The running flush of the queue that the caller is part of, or None.
        waits: Whether the caller waits for room. If not, it gets QueueFull if there is no room.
        until: The time at which the caller stops waiting.
        make_result: A function that makes the return value for the caller from the completion of
            the item. None: the caller gets None.
        on_accepted: A function that is called in the step that accepts the item. It gets the item
            or, for a duplicate, the item that stays. None: nothing is called.
        waiter: The waiter of the caller in the line of producers. None until the caller joins it.
        need: The room that the caller waits for in the line.
        turn: The number of the caller in the order of joining the line. 0 before it joins.
        is_displaced: Whether the item was accepted and displaced at once.
        tried_keeper: Whether the caller has tried to start the keeper.
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
