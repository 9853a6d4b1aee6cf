"""The random choices of a seed, for every kind of session.

Times are multiples of 1/8 s, so that many events happen at the same instant. Each moment also
counts some iterations of the loop, so that events happen between the steps of an instant, too.
"""

import itertools
import math
import random

import attrs

from flushq.throttles import CircuitBreaker, RateLimit, Throttle
from tests.sessions import throttles
from tests.sessions.facts import Item, Limits
from tests.sessions.merges import WEIGHTS, Merge
from tests.sessions.policies import FAULTS, PolicyFault, PolicyPlan

Moment = tuple[float, int]
"""A time in seconds, and a number of iterations of the loop after it."""


class Dice(random.Random):
    """The random choices of one seed."""

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return self.random() < probability

    def time(self, until: float) -> float:
        """Return a time before ``until``, a multiple of 1/8 s."""
        return int(self.random() * until * 8) / 8

    def moment(self, until: float) -> Moment:
        """Return a moment before ``until``."""
        return self.time(until), self.choice([0, 0, 1, 2, 3, 4, 6])

    def a_few(self) -> range:
        """Return a range of length 0 to 3, mostly 0 or 1."""
        return range(self.choice([0, 0, 0, 1, 1, 2, 3]))


class Items:
    """A maker of items with number, key, weight and partition."""

    def __init__(self, dice: Dice, limits: Limits, first: int = 1) -> None:
        self._dice = dice
        self._keys = 0 if not limits.dedupe else 4 if limits.merge is None else 2
        self._partitions = range(0 if not limits.partitioned else 3 if limits.merge is None else 2)
        self._weights = [0.0, 0.5, 1.0, 1.0, 2.0, 4.0, 5.0] if limits.weighs else [0.0]
        self._numbers = itertools.count(first)

    def __call__(self) -> Item:
        """Make an item."""
        key = int(self._dice.random() * self._keys) if self._keys else None
        weight = self._dice.choice(self._weights)
        partition = self._dice.choice(self._partitions) if self._partitions else None
        return Item(next(self._numbers), key, weight, partition)


THROTTLES: list[Throttle] = [
    RateLimit(1, 0.25),
    RateLimit(1, 1.0),
    RateLimit(2, 1.0),
    RateLimit(3, 0.5),
    CircuitBreaker(1, 0.5),
    CircuitBreaker(2, 1.0),
    throttles.OneAtATime(),
]


def merging(dice: Dice, limits: Limits) -> Limits:
    """Return the same limits, in some sessions with a merge."""
    if not dice.chance(0.3):
        return limits
    return attrs.evolve(
        limits,
        dedupe=True,
        weighs=limits.weighs or dice.chance(0.8),
        merge=Merge(dice.choice(["last", *WEIGHTS]), is_faulty=dice.chance(0.4)),
    )


def bounded(dice: Dice, limits: Limits) -> Limits:
    """Return the same limits, in some sessions with bounds; with a merge often by weight."""
    if not dice.chance(0.4 if limits.merge is None else 0.8):
        return limits
    weights = [None, 4.0, 5.0, 6.0] if limits.merge is None else [4.0, 6.0, 9.0]
    return attrs.evolve(
        limits,
        max_queue_weight=dice.choice(weights) if limits.weighs else None,
        when_full=dice.choice(["wait", "wait", "drop_oldest", "drop_newest"]),
    )


def limits_of(dice: Dice, partitioned: float) -> Limits:
    """Return the limits of a queue, which is partitioned with this probability."""
    weighs = dice.chance(0.25)
    return Limits(
        max_queue_size=dice.choice([1, 1, 2, 2, 3, 5, 8, 10_000]),
        max_in_flight=dice.choice([1, 1, 1, 2, 2, 3]),
        max_shutdown_wait=dice.choice([None, None, math.inf, 0, 0.5, 1.0, 2.0, 4.0]),
        max_records=dice.choice([None, 1, 2, 3, 5]),
        max_weight=dice.choice([None, 4.0, 4.0]) if weighs else None,
        weighs=weighs,
        dedupe=dice.chance(0.25),
        partitioned=dice.chance(partitioned),
        max_in_flight_per_partition=dice.choice([1, 1, 2, None]),
        throttle=throttle_of(dice) if dice.chance(0.3) else None,
    )


def policy_of(dice: Dice, *, faulty: bool = True) -> PolicyPlan:
    """Return a plan of a policy, which fails in some sessions if ``faulty``."""
    kind = dice.choice(["interval", "interval", "interval", "natural", "natural", "echo", "whim"])
    number = {
        "interval": dice.choice([0.25, 0.5, 1.0, 2.0, 5.0, math.inf]),
        "natural": 0.0,
        "echo": 0.25,
        "whim": float(dice.randrange(10_000)),
    }[kind]
    fault = PolicyFault(dice.randrange(1, 25), dice.choice(FAULTS))
    if not faulty:
        return PolicyPlan(kind, number)
    return PolicyPlan(
        kind,
        number,
        fault if dice.chance(0.08) else None,
        copies=dice.randrange(2, 10) if dice.chance(0.05) else None,
    )


def throttle_of(dice: Dice) -> Throttle:
    """Return a throttle, which fails in some sessions."""
    if dice.chance(0.2):
        return throttles.FaultyThrottle(dice.randrange(1, 12), dice.choice(throttles.FAULTS))
    return dice.choice(THROTTLES)
