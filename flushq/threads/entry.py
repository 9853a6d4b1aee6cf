"""An item that asks to be let in, with what is known of its caller."""

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
    """An item that asks to be let in.

    Attributes:
        item: The item.
        key, weight: As measured.
        inside: The flush that the caller is part of.
        waits: Whether the caller waits for room; else there is some, or QueueFull is raised.
        until: How long it waits.
        watch: What is to be returned, of the completion of the item. None: nobody will ask.
        on_accepted: Is called in that step, with the item, or with the one that stays.
        place: The caller in the line; None: it has not gone there.
        need: The room that it waits for there.
        turn: Its number in the order of those who went there; 0: it has not gone there.
        is_displaced: Whether it was accepted, and displaced at once.
        has_keeper: Whether a keeper was started for it, or none can be.
    """

    item: T
    key: Hashable
    weight: float
    inside: Batch[T] | None
    waits: bool
    until: float
    watch: Callable[[Completion[T]], Any] | None
    on_accepted: Callable[[T], object] | None
    place: Waiter | None = None
    need: Need = NOTHING
    turn: int = 0
    is_displaced: bool = False
    has_keeper: bool = False
