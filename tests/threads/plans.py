"""What a session of the queue for threads is drawn to do beside the usual: bounds and the like."""

import random
from collections.abc import Callable
from typing import Any

import attrs

from flushq.core.displacing import WhenFull
from flushq.throttles import CircuitBreaker, RateLimit, Throttle
from tests.sessions.throttles import FAULTS, FaultyThrottle, OneAtATime

Part = tuple[int, int]
"""An item as it was brought: by which producer, and how many that had brought before."""


@attrs.frozen
class Item:
    """What a producer brings.

    Attributes:
        who: The producer.
        number: How many it has brought before.
        weight: What it weighs; not compared, as merging changes it.
        parts: What was merged into it, in that order, and itself.
    """

    who: int
    number: int
    weight: float = attrs.field(default=1.0, eq=False)
    parts: tuple[Part, ...] = attrs.field(default=(), eq=False)

    @classmethod
    def of(cls, who: int, number: int) -> "Item":
        """One that was merged with nothing."""
        return cls(who, number, 1.0 + (who + number) % 2, ((who, number),))

    @property
    def key(self) -> int:
        """The key by which it may be a duplicate."""
        return self.number % 3

    @property
    def partition(self) -> int:
        """The partition it may be of."""
        return self.number % 2


def last(waiting: Item, new: Item) -> Item:
    """The last item wins."""
    return new


def fold(waiting: Item, new: Item) -> Item:
    """The item that waits, and what is in the new one."""
    weight, parts = waiting.weight + new.weight, waiting.parts + new.parts
    return attrs.evolve(waiting, weight=weight, parts=parts)


@attrs.frozen
class Plan:
    """What the queue keeps to.

    Attributes:
        partitions: How many flushes of one partition may run; 0: there are no partitions.
        most_weight, when_full, merge, throttle: As the queue is told.
    """

    partitions: int | None = 0
    most_weight: float | None = None
    when_full: WhenFull = "wait"
    merge: Callable[[Item, Item], Item] | None = None
    throttle: Throttle | None = None

    @property
    def is_partitioned(self) -> bool:
        """Whether there are partitions."""
        return self.partitions != 0

    @property
    def displaces(self) -> bool:
        """Whether a full queue displaces items."""
        return self.when_full != "wait"

    def options(self) -> dict[str, Any]:
        """The same, as arguments of a queue."""
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
    """What a seed decides; half of the sessions are plain."""
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
