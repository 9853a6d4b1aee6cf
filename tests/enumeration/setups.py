"""Tiny queues, and the states from which all scripts are played."""

import math
from collections.abc import Iterator
from itertools import product

import attrs

from flushq import Drop, Retry, Split, Verdict
from tests.sessions.facts import Limits
from tests.sessions.policies import PolicyPlan

NATURAL = PolicyPlan("natural")
INTERVAL = PolicyPlan("interval", 1.0)

Actions = tuple[str, ...]


@attrs.frozen
class Setup:
    """A tiny queue and the state it is in.

    Attributes:
        prologue: The actions that bring it into its state.
        depth: How many actions a script has after them, at most.
        producers: How many producers there may be.
        owner: How it is owned: "with" or "run".
        verdict: What the failure handler answers, if there is one.
        receipts: Whether producers wait until their items are delivered.
        burst: How many items may come before others run.
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


START = ("start", "settle")


def setups(fresh: int, full: int) -> Iterator[Setup]:
    """Every setup, with the depths of the scripts that begin with an empty and a full queue."""
    for policy in (NATURAL, INTERVAL):
        yield Setup(_limits(1, 1, 1), policy, (), fresh)
        yield Setup(_limits(2, 2, 2), policy, ("enqueue", "settle"), fresh)
        for limits in _tiny(policy):
            if limits.max_queue_size == 1:
                yield Setup(limits, policy, START, fresh)
            yield _full(limits, policy, full)
            yield _full(limits, policy, full, "leave", "settle")
        yield from _variants(policy, full)
    yield from _handled(full)
    yield from _bursts(fresh)
    yield from _partitions(fresh, full)


def _variants(policy: PolicyPlan, depth: int) -> Iterator[Setup]:
    """Other owners and limits of time; items every other of which has the same key."""
    one, two = _limits(1, 1, 1), _limits(2, 2, 1)
    yield attrs.evolve(_full(one, policy, depth), owner="run")
    yield _full(attrs.evolve(one, max_shutdown_wait=0), policy, depth)
    yield _full(attrs.evolve(one, max_shutdown_wait=None), policy, depth)
    keyed = _full(attrs.evolve(two, dedupe=True), policy, depth)
    yield keyed
    yield attrs.evolve(keyed, receipts=True)


def _bursts(depth: int) -> Iterator[Setup]:
    """Producers that let others run before nearly every item."""
    for dedupe, burst in product((False, True), (1, 2)):
        limits = attrs.evolve(_limits(2, 2, 2), dedupe=dedupe)
        yield Setup(limits, INTERVAL, START, depth, producers=4, burst=burst)


def _partitions(fresh: int, full: int) -> Iterator[Setup]:
    """Items every other of which is of the same partition.

    With three slots both partitions are at their limit, beside a slot that is free.
    """
    for policy in (NATURAL, INTERVAL):
        yield Setup(_partitioned(2, 3, 1, 1), policy, START, fresh, producers=4)
        yield _full(_partitioned(1, 2, 1, 1), policy, full, "leave", "settle")
        for slots, own in (1, 1), (2, 1), (2, None), (3, 1):
            yield _full(_partitioned(1, 2, slots, own), policy, full)


def _partitioned(cap: int, size: int, slots: int, own: int | None) -> Limits:
    limits = _limits(cap, size, slots)
    return attrs.evolve(limits, partitioned=True, max_in_flight_per_partition=own)


def _handled(depth: int) -> Iterator[Setup]:
    """Failure handlers, and producers who wait for the end of their items."""
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
    """All tiny limits that make a difference to this policy."""
    for cap, size, slots in product((1, 2), (1, 2), (1, 2)):
        if policy is INTERVAL or cap <= size:
            yield _limits(cap, size, slots)


def _limits(cap: int, size: int, slots: int) -> Limits:
    return Limits(max_queue_size=size, max_in_flight=slots, max_records=cap, max_shutdown_wait=2.0)


def _full(limits: Limits, policy: PolicyPlan, depth: int, *then: str) -> Setup:
    """What may run does, the queue is full, and a producer waits; another one may come."""
    slots, size = min(limits.max_in_flight, 2 * limits.partition_slots), limits.max_queue_size
    batch = 1 if policy is NATURAL else min(limits.max_records or 1, size)
    filling = ("enqueue", "settle") * batch * slots + ("enqueue",) * (size + 1) + ("settle",)
    prologue = (*START, *filling, *then)
    return Setup(limits, policy, prologue, depth, producers=batch * slots + size + 2)
