"""The random options of a session of the queue for threads: bounds, merging, a throttle."""

import random
from collections.abc import Callable
from typing import Any

import attrs

from flushq.core.displacing import WhenFull
from flushq.throttles import CircuitBreaker, RateLimit, Throttle
from tests.sessions.throttles import FAULTS, FaultyThrottle, OneAtATime

Part = tuple[int, int]
"""An item as it was enqueued: its producer, and the number of earlier items of that producer."""


@attrs.frozen
class Item:
    """An item of a producer.

    Attributes:
        producer: The number of the producer.
        number: The number of items that the producer enqueued before.
        weight: The weight; not compared, as merging changes it.
        parts: This item, and the items that were merged into it, in order of acceptance.
    """

    producer: int
    number: int
    weight: float = attrs.field(default=1.0, eq=False)
    parts: tuple[Part, ...] = attrs.field(default=(), eq=False)

    @classmethod
    def of(cls, producer: int, number: int) -> "Item":
        """Return an item into which no other was merged."""
        return cls(producer, number, 1.0 + (producer + number) % 2, ((producer, number),))

    @property
    def key(self) -> int:
        """The key that ``dedupe_key`` returns."""
        return self.number % 3

    @property
    def partition(self) -> int:
        """The key that ``partition_key`` returns."""
        return self.number % 2


def last(waiting: Item, new: Item) -> Item:
    """Return the new item: the last item wins."""
    return new


def fold(waiting: Item, new: Item) -> Item:
    """Return the waiting item with the parts and the weight of the new one added."""
    weight, parts = waiting.weight + new.weight, waiting.parts + new.parts
    return attrs.evolve(waiting, weight=weight, parts=parts)


@attrs.frozen
class Plan:
    """The random options of a queue.

    Attributes:
        partitions: The ``max_in_flight_per_partition``; 0: the queue has no partitions.
        most_weight: The ``max_queue_weight``.
        when_full, merge, throttle: The arguments of the queue with these names.
    """

    partitions: int | None = 0
    most_weight: float | None = None
    when_full: WhenFull = "wait"
    merge: Callable[[Item, Item], Item] | None = None
    throttle: Throttle | None = None

    @property
    def is_partitioned(self) -> bool:
        """Whether the queue has partitions."""
        return self.partitions != 0

    @property
    def displaces(self) -> bool:
        """Whether a full queue displaces items."""
        return self.when_full != "wait"

    def options(self) -> dict[str, Any]:
        """Return the options as arguments of a queue."""
        options: dict[str, Any] = {"when_full": self.when_full, "throttle": self.throttle}
        if self.is_partitioned:
            options["partition_key"] = lambda item: item.partition
            options["max_in_flight_per_partition"] = self.partitions
        if self.most_weight is not None:
            options["weigh"] = lambda item: item.weight
            options["max_queue_weight"] = self.most_weight
        if self.merge is not None:
            options["merge"] = self.merge
            options["dedupe_key"] = lambda item: item.key
        return options


PLAIN = Plan()


def draw_plan(seed: int, second: float) -> Plan:
    """Return the plan that belongs to a seed; half of the sessions have no special options."""
    draw = random.Random(repr((seed, "plan")))
    if draw.random() < 0.5:
        return PLAIN
    throttles: list[Throttle] = [
        RateLimit(1, second / 2),
        RateLimit(2, second),
        CircuitBreaker(2, second),
        OneAtATime(),
        FaultyThrottle(draw.randint(1, 8), draw.choice(FAULTS)),
    ]
    return Plan(
        partitions=draw.choice([0, 0, 1, 2, None]),
        most_weight=draw.choice([None, None, 2.0, 4.0]),
        when_full=draw.choice(["wait", "wait", "drop_oldest", "drop_newest"]),
        merge=draw.choice([None, None, last, fold, fold]),
        throttle=draw.choice([None, None, *throttles]),
    )
