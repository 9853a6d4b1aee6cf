"""Items, and the limits of a queue."""

import math
from collections.abc import Callable

import attrs

from flushq.core.displacing import WhenFull
from flushq.throttles import Throttle


@attrs.frozen
class Item:
    """One item; no two items that producers enqueue are equal.

    Attributes:
        parts: The numbers of the items that were merged into this one; empty if it was not merged.
    """

    number: int
    key: int | None = None
    weight: float = 0.0
    partition: int | None = None
    parts: tuple[int, ...] = ()

    @property
    def name(self) -> tuple[int | None, int | None]:
        """The partition and the key, which are the same for two items that are duplicates."""
        return self.partition, self.key

    def __repr__(self) -> str:
        key = "" if self.key is None else f"k{self.key}"
        weight = f"w{self.weight:g}" if self.weight else ""
        partition = "" if self.partition is None else f"p{self.partition}"
        number = "+".join(map(str, self.parts or (self.number,)))
        return f"#{number}{key}{weight}{partition}"


@attrs.frozen
class Limits:
    """The arguments of the queue and of its policy; None means unlimited."""

    max_queue_size: int = 10_000
    max_in_flight: int = 1
    max_shutdown_wait: float | None = None
    max_records: int | None = None
    max_weight: float | None = None
    weighs: bool = False
    dedupe: bool = False
    partitioned: bool = False
    max_in_flight_per_partition: int | None = 1
    throttle: Throttle | None = None
    max_queue_weight: float | None = None
    when_full: WhenFull = "wait"
    merge: Callable[[Item, Item], Item] | None = None

    @property
    def shutdown_seconds(self) -> float:
        """How many seconds closing may take."""
        return math.inf if self.max_shutdown_wait is None else self.max_shutdown_wait

    @property
    def partition_slots(self) -> int:
        """How many flushes of one partition may run; a queue without keys is one partition."""
        own = self.max_in_flight_per_partition if self.partitioned else None
        return self.max_in_flight if own is None else own
