"""What the checker knows of items, flights, and of those who wait: calls, barriers and closers."""

import asyncio
import math
from collections.abc import Iterable
from itertools import zip_longest

import attrs

from tests.sessions.causes import Cause
from tests.sessions.loop import EARLY


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
        over_at: Since when.
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


@attrs.define(eq=False, kw_only=True)
class Waiting:
    """Somebody who is in a call of the queue that may be cancelled.

    Attributes:
        who: Their name.
        scopes: Each asyncio.timeout around the call; if there are any, they are what cancels it.
        requested: Whether somebody has asked for its cancellation.
        vague: Whether a cancellation may or may not reach it: nobody knows.
    """

    who: str
    scopes: tuple[asyncio.Timeout, ...] = ()
    requested: bool = False
    vague: bool = False

    @property
    def cancelled(self) -> bool:
        """Whether a cancellation has surely reached it."""
        if self.scopes:
            return any(scope.expired() for scope in self.scopes)
        return self.requested and not self.vague

    def may_go(self, now: float) -> bool:
        """Whether it may be cancelled at this moment."""
        due = (scope.when() for scope in self.scopes)
        expires = any(when is not None and now >= when - 2 * EARLY for when in due)
        return self.requested or self.vague or expires


@attrs.define(eq=False, kw_only=True)
class Call(Waiting):
    """One call that brings an item: enqueue, enqueue_nowait, submit or deliver.

    Attributes:
        nowait: Whether it is enqueue_nowait.
        delivers: Whether it is deliver.
        refused: Whether it is to be refused, since it would wait for itself.
        inside: The flight that makes the call, if one does.
        deadline: When the caller's patience ends: from then on it may be cancelled.
        called_in: The loop iteration of the call.
        called_at: Its time.
        blocked: Whether there was no room for it when it came, or somebody in line.
    """

    item: Item
    nowait: bool = False
    delivers: bool = False
    refused: bool = False
    inside: Flight | None = None
    deadline: float = math.inf
    called_in: int = 0
    called_at: float = 0.0
    blocked: bool = False

    @property
    def is_inside(self) -> bool:
        """Whether it is part of a flush that runs, as far as the queue knows."""
        return self.inside is not None and not self.inside.heard

    def may_go(self, now: float) -> bool:
        """Whether it may be cancelled at this moment."""
        return now >= self.deadline - 2 * EARLY or super().may_go(now)


@attrs.define(eq=False, kw_only=True)
class Wait(Waiting):
    """Somebody who awaits the receipt of an item.

    Attributes:
        inside: The flight that does, if one does.
        deadline: When their patience ends: from then on they may be cancelled.
        called_in: The loop iteration of the call.
        refusable: Whether they may be refused, if they would wait for themselves.
    """

    item: Item
    inside: Flight | None = None
    deadline: float = math.inf
    called_in: int = 0
    refusable: bool = False

    def may_go(self, now: float) -> bool:
        """Whether it may be cancelled at this moment."""
        return now >= self.deadline - 2 * EARLY or super().may_go(now)


@attrs.define(eq=False, kw_only=True)
class Barrier(Waiting):
    """One call of flush().

    Attributes:
        start: The position of the first item that had not ended.
        heard: The same, of the first whose end the queue had not seen.
        mark: The position after the last item accepted before.
        late: Whether the queue had failed before the call.
    """

    start: int
    heard: int
    mark: int
    late: bool


@attrs.define(eq=False, kw_only=True)
class Closer(Waiting):
    """Somebody who waits for the end of the queue: ``async with``, ``run`` or ``aclose``.

    Attributes:
        body_error: With what the body of ``async with`` ended.
        over: Whether it has ended.
        error: What it raised.
        may_be_early: Whether it may have left before the end: a cancelled aclose().
    """

    kind: str
    body_error: BaseException | None = None
    over: bool = False
    error: BaseException | None = None
    may_be_early: bool = False

    @property
    def is_owner(self) -> bool:
        """Whether it decides alone when the drain is cut short."""
        return self.kind != "aclose"
