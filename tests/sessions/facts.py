"""What the checker knows of items and flights."""

import math
from collections.abc import Iterable
from itertools import takewhile, zip_longest

import attrs

from tests.sessions.causes import Cause


@attrs.frozen(eq=False)
class Item:
    """One item; no two are equal."""

    number: int
    key: int | None = None
    weight: float = 0.0

    def __repr__(self) -> str:
        key = "" if self.key is None else f"k{self.key}"
        weight = f"w{self.weight:g}" if self.weight else ""
        return f"#{self.number}{key}{weight}"


@attrs.frozen
class Limits:
    """What the queue and its policy were told to keep to; None is no limit."""

    max_queue_size: int = 10_000
    max_in_flight: int = 1
    max_shutdown_wait: float | None = None
    max_records: int | None = None
    max_weight: float | None = None
    weighs: bool = False
    dedupe: bool = False

    @property
    def shutdown_seconds(self) -> float:
        """How long closing may take."""
        return math.inf if self.max_shutdown_wait is None else self.max_shutdown_wait


@attrs.define(eq=False)
class Part:
    """Items of a flight that are handed over together.

    Attributes:
        items: The items.
        attempt: How many times they will have been handed over together: 1, 2, ...
        due: When that is to be.
        error: What flush_fn raised the last time.
        causes: The exception of each item, by that error.
    """

    items: tuple[Item, ...]
    attempt: int = 1
    due: float = -math.inf
    error: BaseException | None = None
    causes: tuple[Cause, ...] = ()


@attrs.frozen
class Fate:
    """What has become of an item that was handed over.

    Attributes:
        kind: DELIVERED, DROPPED or FAILED.
        cause: What flush_fn raised for it.
    """

    kind: str
    cause: Cause = None


DELIVERED, DROPPED, FAILED = "delivered", "dropped", "failed"

CUT, HANDED, RAISED, ASKED, BETWEEN = (
    "cut",
    "handed over",
    "to be judged",
    "judged",
    "between calls",
)


@attrs.define(eq=False)
class Flight:
    """A batch, from its cut to its end.

    Attributes:
        items: Its items, in order of acceptance.
        first: The position of its first item among all that were accepted and no duplicates.
        cut_at: When it was cut.
        oldest: When its first item had arrived, as the policy was told.
        behind: How many items it left behind.
        reasons: Why it may have been cut.
        parts: What is still to be delivered, the next part last.
        fates: What has become of its items so far; of the others, nothing.
        state: What is being done with the next part.
        calls: How many times flush_fn was called.
        over: Whether all that has ended, or can never begin.
        over_at: Since when, at the earliest.
        error: What ended it, and the queue with it.
        heard: Whether the queue knows that it is over.
        reported: Whether there was a report of it.
        unsent: Whether the policy failed when it was told of it: then it is no flush.
        cancelled_in: The loop iterations in which it saw a cancellation.
    """

    number: int
    items: tuple[Item, ...]
    first: int
    cut_at: float
    oldest: float = 0.0
    behind: int = 0
    reasons: frozenset[str] = frozenset()
    parts: list[Part] = attrs.field(
        default=attrs.Factory(lambda self: [Part(self.items)], takes_self=True)
    )
    fates: dict[Item, Fate] = attrs.field(factory=dict)
    state: str = CUT
    calls: int = 0
    over: bool = False
    over_at: float = 0.0
    error: Cause = None
    heard: bool = False
    reported: bool = False
    unsent: bool = False
    cancelled_in: list[int] = attrs.field(factory=list)

    @property
    def called(self) -> bool:
        """Whether flush_fn was called with it."""
        return self.state != CUT

    @property
    def first_unended(self) -> int:
        """The position of its first item that was neither delivered nor dropped."""
        fates = (self.fates.get(item) for item in self.items)
        kept = (fate is not None and fate.kind != FAILED for fate in fates)
        return self.first + len(list(takewhile(bool, kept)))

    @property
    def interrupted(self) -> bool:
        """Whether the queue cancelled it."""
        return bool(self.cancelled_in) or not self.called

    def settle(self, items: Iterable[Item], kind: str, causes: Iterable[Cause] = ()) -> None:
        """Some of its items have ended."""
        for item, cause in zip_longest(items, causes):
            self.fates[item] = Fate(kind, cause)

    def count(self, kind: str) -> int:
        """How many of its items have ended so."""
        return sum(fate.kind == kind for fate in self.fates.values())

    @property
    def lost(self) -> list[Item]:
        """Its items that are neither delivered nor dropped, in order."""
        kept = {item for item, fate in self.fates.items() if fate.kind != FAILED}
        return [item for item in self.items if item not in kept]

    def __repr__(self) -> str:
        return f"flight {self.number}"
