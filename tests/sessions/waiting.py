"""What the checker knows of those who wait: calls, receipts, barriers and closers."""

import asyncio
import math

import attrs

from tests.sessions.facts import Flight, Item
from tests.sessions.loop import EARLY


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
        claims: Whether it needs room: it was no duplicate when it came.
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
    claims: bool = True
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
