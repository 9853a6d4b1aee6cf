"""Everything that one seed decides.

Times are multiples of 1/8 s, so that much falls on the same instant, and "some turns of the loop
later" is part of every moment, so that it falls on the steps between as well.
"""

import itertools
import math
import random
from collections.abc import Sequence

import attrs

from tests.sessions.facts import Item, Limits
from tests.sessions.policies import FAULTS, PolicyFault, PolicyPlan
from tests.sessions.producers import Step


@attrs.frozen
class Moment:
    """A time, and how many turns of the loop later."""

    time: float
    turns: int = 0


@attrs.frozen
class Life:
    """How the queue is owned, and how that ends.

    Attributes:
        kind: "with", "run", "group" (run() in a TaskGroup) or "aclose" (never started).
        start: When the owner comes.
        end: When the body ends, or the owner of "run" is cancelled.
        raises: Whether the body ends with an exception.
        timed: Whether interruptions of the owner are the end of an asyncio.timeout.
    """

    kind: str
    start: float
    end: Moment
    raises: bool
    timed: bool


@attrs.frozen
class Configuration:
    """One session.

    Attributes:
        seed: The seed.
        limits: What the queue and its policy keep to.
        policy: The policy.
        burst: How many items may come before others run.
        life: The owner.
        producers: The steps of each producer.
        readers: When somebody awaits all receipts that there are.
        flushes: When somebody calls flush().
        closes: When somebody calls aclose().
        interruptions: Who is cancelled when.
        timed: Of whom an interruption is the end of an asyncio.timeout.
        wickedness: The share of calls with which the sink does something unusual.
        trouble: The share of those that fail, beside that.
        severity: How often the failure handler ends the queue; None: there is no handler.
        report_faults: The share of reports for which on_report raises.
        fires_early: Whether the timers of the loop fire a little early.
    """

    seed: int
    limits: Limits
    policy: PolicyPlan
    burst: float
    life: Life
    producers: tuple[tuple[Step, ...], ...]
    readers: tuple[Moment, ...]
    flushes: tuple[Moment, ...]
    closes: tuple[Moment, ...]
    interruptions: tuple[tuple[str, Moment], ...]
    timed: tuple[str, ...]
    wickedness: float
    trouble: float
    severity: float | None
    report_faults: float
    fires_early: bool


class Dice(random.Random):
    """What a seed decides."""

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.random() < probability

    def time(self, until: float) -> float:
        """A time on the grid."""
        return int(self.random() * until * 8) / 8

    def moment(self, until: float) -> Moment:
        """A moment."""
        return Moment(self.time(until), self.choice([0, 0, 1, 2, 3, 4, 6]))

    def a_few(self) -> int:
        """Seldom more than one."""
        return self.choice([0, 0, 0, 1, 1, 2, 3])


class Items:
    """A maker of items, each with its number, key and weight."""

    def __init__(self, dice: Dice, limits: Limits, first: int = 1) -> None:
        self._dice = dice
        self._keys = 4 if limits.dedupe else 0
        self._weights = [0.0, 0.5, 1.0, 1.0, 2.0, 4.0, 5.0] if limits.weighs else [0.0]
        self._numbers = itertools.count(first)

    def __call__(self) -> Item:
        """Make an item."""
        key = int(self._dice.random() * self._keys) if self._keys else None
        return Item(next(self._numbers), key, self._dice.choice(self._weights))


def configuration(seed: int) -> Configuration:
    """What this seed decides."""
    dice = Dice(seed)
    limits = limits_of(dice)
    items = Items(dice, limits)
    life = _life(dice)
    count = dice.choice([1, 2, 2, 3, 4])
    names = [f"producer {i}" for i in range(count)]
    what = WITH_RECEIPTS if dice.chance(0.5) else WHAT
    producers = tuple(_steps(dice, items, what) for _ in range(count))
    readers = tuple(dice.moment(8.0) for _ in range(dice.a_few()))
    flushes = tuple(dice.moment(8.0) for _ in range(dice.a_few()))
    closes = _closes(dice, life)
    handles = dice.chance(0.5)
    names += [f"flush {i}" for i in range(len(flushes))]
    names += [f"reader {i}" for i in range(len(readers))]
    names += [f"closer {i}" for i in range(len(closes))]
    return Configuration(
        seed=seed,
        limits=limits,
        policy=policy_of(dice),
        burst=burst_of(dice),
        life=life,
        producers=producers,
        readers=readers,
        flushes=flushes,
        closes=closes,
        interruptions=_interruptions(dice, names, life),
        timed=tuple(name for name in names if dice.chance(0.2)),
        wickedness=dice.choice([0.0, 0.1, 0.3, 0.3, 0.6]),
        trouble=dice.choice([0.0, 0.1, 0.3, 0.6] if handles else [0.0, 0.0, 0.0, 0.3]),
        severity=dice.choice([0.0, 0.05, 0.2]) if handles else None,
        report_faults=dice.choice([0.0, 0.0, 0.2]),
        fires_early=dice.chance(0.1),
    )


SIZES = [1, 1, 2, 2, 3, 5, 8, 10_000]


def limits_of(dice: Dice) -> Limits:
    """What a queue keeps to."""
    weighs = dice.chance(0.25)
    return Limits(
        max_queue_size=dice.choice(SIZES),
        max_in_flight=dice.choice([1, 1, 1, 2, 2, 3]),
        max_shutdown_wait=dice.choice([None, None, math.inf, 0, 0.5, 1.0, 2.0, 4.0]),
        max_records=dice.choice([None, 1, 2, 3, 5]),
        max_weight=dice.choice([None, 4.0, 4.0]) if weighs else None,
        weighs=weighs,
        dedupe=dice.chance(0.25),
    )


def burst_of(dice: Dice) -> float:
    """How many items may come before others run: mostly 256, as in every other queue."""
    return dice.choice([256, 256, 256, 4, 2, 1])


def policy_of(dice: Dice, *, faulty: bool = True) -> PolicyPlan:
    """A policy, which fails now and then if it is ``faulty``."""
    kind = dice.choice(["interval", "interval", "interval", "natural", "natural", "echo", "whim"])
    number = {
        "interval": dice.choice([0.25, 0.5, 1.0, 2.0, 5.0, math.inf]),
        "natural": 0.0,
        "echo": 0.25,
        "whim": float(dice.randrange(10_000)),
    }[kind]
    fault = PolicyFault(dice.randrange(1, 25), dice.choice(FAULTS))
    return PolicyPlan(kind, number, fault if faulty and dice.chance(0.08) else None)


def _life(dice: Dice) -> Life:
    start = dice.choice([0.0, 0.0, 0.0, 0.0, 0.5, 2.0])
    end = dice.moment(10.0)
    return Life(
        kind=dice.choice(["with", "with", "with", "run", "run", "group", "aclose"]),
        start=start,
        end=attrs.evolve(end, time=start + end.time),
        raises=dice.chance(0.2),
        timed=dice.chance(0.3),
    )


def _closes(dice: Dice, life: Life) -> tuple[Moment, ...]:
    count = dice.a_few() if dice.chance(0.5) else 0
    count = max(count, 1) if life.kind == "aclose" else count
    return tuple(dice.moment(life.end.time + 2.0) for _ in range(count))


def _interruptions(dice: Dice, names: list[str], life: Life) -> tuple[tuple[str, Moment], ...]:
    some = [(name, dice.moment(10.0)) for name in names if dice.chance(0.3)]
    again = [(name, dice.moment(12.0)) for name, _ in some if dice.chance(0.3)]
    owner = [("owner", dice.moment(life.end.time + 4.0)) for _ in range(dice.a_few())]
    return (*some, *again, *owner)


def _steps(dice: Dice, items: Items, what: Sequence[str]) -> tuple[Step, ...]:
    return tuple(_step(dice, items, what) for _ in range(int(1 + dice.random() * 8)))


WHAT = ["enqueue"] * 6 + ["pause"] * 6 + ["nowait", "timeout", "wait_for", "give up", "work"]
WITH_RECEIPTS = [
    *WHAT,
    *["submit"] * 6,
    *["await", "deliver"] * 2,
    *["await for", "deliver for", "give up delivery"],
]


def _step(dice: Dice, items: Items, what: Sequence[str]) -> Step:
    kind = dice.choice(what)
    if kind in {"pause", "work", "await", "await for"}:
        return Step(kind, (), dice.time(0.5 if kind == "work" else 3.0))
    if kind in {"enqueue", "nowait", "submit"}:
        return Step(kind, tuple(items() for _ in range(dice.choice([1, 1, 1, 2, 3, 5]))))
    return Step(kind, (items(),), dice.time(4.0))
