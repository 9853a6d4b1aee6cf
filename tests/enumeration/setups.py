"""Tiny queues, and the states from which all scripts are played."""

import math
from collections.abc import Iterator
from itertools import product

import attrs

from flushq import Drop, Retry, Split, Verdict
from flushq.core.displacing import WhenFull
from flushq.throttles import CircuitBreaker, RateLimit
from tests.sessions.facts import Limits
from tests.sessions.merges import Merge
from tests.sessions.policies import PolicyPlan
from tests.sessions.throttles import FaultyThrottle, OneAtATime

NATURAL = PolicyPlan("natural")
INTERVAL = PolicyPlan("interval", 1.0)
DROPS: tuple[WhenFull, ...] = "drop_oldest", "drop_newest"
FAULTS = (3, "ready_at"), (3, "NaN"), (4, "call_done"), (4, "never"), (5, "call_started")
"""The event at which a throttle fails, and how: a call has failed and another one runs."""

Actions = tuple[str, ...]


@attrs.frozen
class Setup:
    """A tiny queue and its state.

    Attributes:
        prologue: The actions that lead to its state.
        depth: The largest number of actions in a script after the prologue.
        producers: The largest number of producers.
        owner: How the owner runs the queue: "with" or "run".
        verdict: The answer of the failure handler, or None without a handler.
        receipts: Whether producers wait until their items are delivered.
        burst: The number of items that are accepted before other tasks run.
        weights: The weights of the items, in order; the last one is for all further items.
    """

    limits: Limits
    policy: PolicyPlan
    prologue: Actions
    depth: int
    producers: int = 3
    owner: str = "with"
    verdict: Verdict | None = None
    receipts: bool = False
    burst: float = math.inf
    weights: tuple[float, ...] = (0.0,)


START = ("start", "settle")


def setups(fresh: int, full: int) -> Iterator[Setup]:
    """Yield every setup, with these depths of scripts from an empty and from a full queue."""
    yield Setup(_limits(1, 1, 1), NATURAL, (), fresh)
    for policy in (NATURAL, INTERVAL):
        yield Setup(_limits(2, 2, 2), policy, ("enqueue", "settle"), fresh)
        for limits in _tiny(policy):
            if limits.max_queue_size == 1:
                yield Setup(limits, policy, START, fresh)
            yield _full(limits, policy, full)
            yield _full(limits, policy, full, "leave", "settle")
        yield from _keyed(policy, full)
    yield from _variants(full)
    yield from _handled(full)
    yield from _bursts(fresh)
    yield from _partitions(fresh, full)
    yield from bounded(fresh, full)
    yield from merging(fresh, full)
    yield from throttled(fresh, full)


def _variants(depth: int) -> Iterator[Setup]:
    """Yield setups with another owner or another limit of time."""
    limits = _limits(1, 1, 1)
    yield attrs.evolve(_full(limits, NATURAL, depth), owner="run")
    yield _full(attrs.evolve(limits, max_shutdown_wait=0), NATURAL, depth)
    yield _full(attrs.evolve(limits, max_shutdown_wait=None), NATURAL, depth)


def _keyed(policy: PolicyPlan, depth: int) -> Iterator[Setup]:
    """Yield setups in which every second item has the same key."""
    keyed = _full(attrs.evolve(_limits(2, 2, 1), dedupe=True), policy, depth)
    yield keyed
    yield attrs.evolve(keyed, receipts=True)


def _bursts(depth: int) -> Iterator[Setup]:
    """Yield setups with producers that let other tasks run before nearly every item."""
    for dedupe, burst in product((False, True), (1, 2)):
        limits = attrs.evolve(_limits(2, 2, 2), dedupe=dedupe)
        yield Setup(limits, INTERVAL, START, depth, producers=4, burst=burst)


def _partitions(fresh: int, full: int) -> Iterator[Setup]:
    """Yield setups in which every second item is of the same partition.

    With three slots both partitions reach their limit while a slot is free.
    """
    for policy in (NATURAL, INTERVAL):
        yield Setup(_partitioned(2, 3, 1, 1), policy, START, fresh, producers=4)
    yield _full(_partitioned(1, 2, 1, 1), NATURAL, full, "leave", "settle")
    for slots, own in (1, 1), (2, 1), (2, None), (3, 1):
        yield _full(_partitioned(1, 2, slots, own), NATURAL, full)


def _partitioned(cap: int, size: int, slots: int, own: int | None) -> Limits:
    limits = _limits(cap, size, slots)
    return attrs.evolve(limits, partitioned=True, max_in_flight_per_partition=own)


def bounded(fresh: int, full: int) -> Iterator[Setup]:
    """Yield setups with weighed items, and setups in which a full queue displaces items."""
    yield from _weighed(min(fresh, full))
    for when_full in DROPS:
        limits = _bounded(1, when_full)
        yield Setup(limits, INTERVAL, START, fresh)
        yield attrs.evolve(_full(limits, INTERVAL, full), burst=1)
        weighed = _full(_bounded(2, when_full, 3.0), INTERVAL, full - 1)
        yield attrs.evolve(weighed, weights=(1.0, 1.0, 1.0, 2.0), receipts=True)
        yield _full(attrs.evolve(_partitioned(1, 1, 2, 1), when_full=when_full), NATURAL, full - 1)
        keyed = attrs.evolve(_bounded(2, when_full), dedupe=True)
        yield _full(keyed, INTERVAL, full - 1, "leave", "settle")


def _weighed(depth: int) -> Iterator[Setup]:
    """Yield setups with a heavy item that waits for room, was given room, or takes it later."""
    limits, in_line = _bounded(3, "wait", 3.0), (*START, *("enqueue", "settle") * 3)
    queue = Setup(limits, INTERVAL, in_line, depth, producers=5, weights=(2.0, 2.0, 2.0, 1.0))
    yield queue
    given = *in_line, "return 0", "end 0", "pass"
    yield attrs.evolve(queue, prologue=given, weights=(2.0,))
    pausing = *START, "enqueue", "enqueue"
    yield attrs.evolve(queue, prologue=pausing, weights=(1.0, 2.0, 1.0), burst=1)


def _bounded(size: int, when_full: WhenFull, weight: float | None = None) -> Limits:
    limits = attrs.evolve(_limits(2, size, 1), when_full=when_full)
    return attrs.evolve(limits, weighs=weight is not None, max_queue_weight=weight)


def merging(fresh: int, full: int) -> Iterator[Setup]:
    """Yield setups in which every second item is merged with one that waits.

    The last item wins, or the weights are added: the sum may exceed the limit or the room left.
    """
    keyed = attrs.evolve(_limits(2, 2, 1), dedupe=True)
    wins = attrs.evolve(keyed, merge=Merge("last"))
    yield attrs.evolve(_full(wins, INTERVAL, full - 1), receipts=True)
    yield _full(wins, NATURAL, full - 1, "leave", "settle")
    for when_full in "wait", *DROPS:
        limits = attrs.evolve(_bounded(3, when_full, 5.0), dedupe=True, merge=Merge("sum"))
        waiting = *START, "enqueue", "settle", "enqueue", "enqueue", "settle"
        weights = 2.0, 2.0, 1.0, 1.0, 2.0
        yield Setup(limits, NATURAL, waiting, min(fresh, full), producers=6, weights=weights)


def throttled(fresh: int, full: int) -> Iterator[Setup]:
    """Yield setups in which a throttle or a hold makes a call wait while a slot is free.

    Either one call runs and a due batch may not start, or a call has failed and will be retried. Or
    the throttle fails, while another call runs or at its end, and the retry can never start.
    """
    failed = "raise 0", "settle", "judge 0", "settle"
    one, slots = _limits(1, 1, 1), _limits(1, 1, 2)
    rated = attrs.evolve(slots, throttle=RateLimit(1, 1.0))
    yield Setup(rated, INTERVAL, START, fresh)
    drained = attrs.evolve(rated, max_shutdown_wait=None)
    yield _full(drained, NATURAL, full - 1, "leave", "settle", slots=1)
    lonely = attrs.evolve(slots, throttle=OneAtATime())
    yield _full(lonely, NATURAL, full - 1, "enter 0", "settle", slots=1)
    for throttle in RateLimit(1, 1.0), CircuitBreaker(1, 1.0):
        limits = attrs.evolve(one, throttle=throttle)
        yield attrs.evolve(_full(limits, NATURAL, full - 1, *failed), verdict=Retry())
    yield attrs.evolve(_full(slots, NATURAL, full - 1, *failed), verdict=Retry(1.0, hold=True))
    for number, what in FAULTS:
        faulty = attrs.evolve(slots, throttle=FaultyThrottle(number, what))
        yield attrs.evolve(_full(faulty, NATURAL, full - 1, *failed), verdict=Retry(1.0))


def _handled(depth: int) -> Iterator[Setup]:
    """Yield setups with failure handlers, and with producers that wait for delivery."""
    one, two = _limits(1, 1, 1), _limits(2, 2, 1)
    for limits in (one, attrs.evolve(one, max_shutdown_wait=0)):
        yield attrs.evolve(_full(limits, INTERVAL, depth), receipts=True)
    single: tuple[Verdict, ...] = Drop(), Retry(), Retry(1.0)
    for verdict in single:
        yield attrs.evolve(_full(one, INTERVAL, depth), verdict=verdict, receipts=True)
    several: tuple[Verdict, ...] = Drop(), Retry(3.0), Split()
    for verdict in several:
        yield attrs.evolve(_full(two, INTERVAL, depth), verdict=verdict, receipts=True)


def _tiny(policy: PolicyPlan) -> Iterator[Limits]:
    """Yield all tiny limits that make a difference to this policy.

    A batch of one item is full at once, so with it every policy is like the natural one.
    """
    for cap, size, slots in product((1, 2), (1, 2), (1, 2)):
        if cap == 2 if policy is INTERVAL else cap <= size:
            yield _limits(cap, size, slots)


def _limits(cap: int, size: int, slots: int) -> Limits:
    return Limits(max_queue_size=size, max_in_flight=slots, max_records=cap, max_shutdown_wait=2.0)


def _full(
    limits: Limits, policy: PolicyPlan, depth: int, *then: str, slots: int | None = None
) -> Setup:
    """Return a setup: all slots are taken, the queue is full, a producer waits, and one may come.

    ``slots`` is the number of flushes that may run, if the limits do not determine it.
    """
    usual, size = min(limits.max_in_flight, 2 * limits.partition_slots), limits.max_queue_size
    batch = 1 if policy is NATURAL else min(limits.max_records or 1, size)
    running = batch * (slots or usual)
    filling = ("enqueue", "settle") * running + ("enqueue",) * (size + 1) + ("settle",)
    prologue = (*START, *filling, *then)
    return Setup(limits, policy, prologue, depth, producers=running + size + 2)
