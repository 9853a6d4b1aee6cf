"""When a batch is cut and why, and what became of every item: the queue without its loop.

The rules it keeps:

* *Nothing vanishes.* An accepted item is pending, in a running batch, delivered, dropped by the
  failure handler, or in one of the lists ``undelivered`` (its batch was never handed over) and
  ``in_doubt`` (it was, and raised or was interrupted). A duplicate is counted and dropped.
* *Order.* Batches are cut oldest item first, and never exceed the caps.
* *Slots.* At most ``max_in_flight`` batches run.
* *The policy hears everything, in order, once*: the arrivals told before any other event, times
  that never run backwards, every flush that starts and every one that ends. What it raises, or
  answers that is no decision, ends the queue with a PolicyError and nothing lost.
* *The first failure is the outcome.* After it nothing is cut any more.

Theory of operation. The buffer numbers the items, in order of acceptance, and a batch knows the
number of its first. So a barrier is a number (everything below it must have ended), the items that
have ended are those below the first item of the oldest batch still running, and losses can be put
in order of acceptance whatever the order in which they became known.

A policy's Flush only says that a flush is due. The driver asks :meth:`Batcher.seal` for a batch
when it is ready to hand one over, and the batch is cut then, from all that waits by then. If
several reasons apply, the first counts: drain, flush (a barrier), the policy's own, pressure (a
producer waits for room).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from operator import itemgetter
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

import attrs

from flushq.arguments import check_count, shown
from flushq.buffer import Buffer, DedupeKey, Weigh
from flushq.errors import FlushFailed, PolicyError, QueueEnded, ShutdownTimeout
from flushq.policy import Decision, Flush, FlushPolicy, Wait, check_caps, flaw_of, running_copy

T = TypeVar("T")

_WAIT = Wait()
_DRAIN = Flush("drain")
_BARRIER = Flush("flush")
_PRESSURE = Flush("pressure")
_NOTHING: Any = MappingProxyType({})  # a dict that stays empty


@attrs.define(eq=False)
class Batch(Generic[T]):
    """A batch that was cut, and how far it has come.

    Attributes:
        items: Its items, oldest first. The flush function gets a copy, which it may change.
        count: How many there are.
        weight: What they weigh together.
        reason: Why it was cut.
        first: The number of its first item, in order of acceptance.
        oldest: When its oldest item arrived.
        started: When it was cut.
        behind: How many items it left behind in the queue.
        handed: Whether the flush function has been called with it.
        attempts: How many times.
        returned: Whether all of that is over, whatever came of it.
        interrupted: Whether the queue itself has cancelled the flush.
        error: What the flush function raised, or what kept the batch from it.
        seconds: How long it took, once it has ended.
        delivered_early: How many of its items were delivered while others were tried again.
        dropped_early: How many were dropped meanwhile.
        dropped: The positions of the items that were dropped, and why each.
        failed: The positions of those whose failure ends the queue, and why each.
        lost: The positions of all that were neither delivered nor dropped, once that is known.
            None: all if there is an error, none if not.
    """

    items: list[T]
    count: int
    weight: float
    reason: str
    first: int
    oldest: float
    started: float
    behind: int
    handed: bool = False
    attempts: int = 0
    returned: bool = False
    interrupted: bool = False
    error: BaseException | None = None
    seconds: float = 0.0
    dropped: dict[int, BaseException] = _NOTHING
    failed: dict[int, BaseException] = _NOTHING
    lost: Sequence[int] | None = None
    delivered_early: int = 0
    dropped_early: int = 0

    @property
    def open(self) -> int:
        """How many of its items have not ended."""
        return self.count - self.delivered_early - self.dropped_early

    def forget(self) -> None:
        """Let go of the items and of the exceptions, whose tracebacks lead back here."""
        self.items.clear()
        self.error = None
        for errors in self.dropped, self.failed:
            if errors:
                errors.clear()


class _End(NamedTuple):
    kind: type[QueueEnded]
    message: str | None
    cause: BaseException | None


class Batcher(Generic[T]):
    """Buffer, policy and limits in one: decides what leaves the queue, and keeps the account.

    Args:
        policy: The policy whose deep copy is run.
        dedupe_key: The key of an item. None: nothing is a duplicate.
        weigh: The weight of an item. None: all weigh 0.
        max_in_flight: How many batches may run at a time.
        label: What the messages of the exceptions begin with.

    Raises:
        TypeError, ValueError: An argument, or a cap of the policy, is not what it must be.

    Attributes:
        policy: The running copy.
        buffer: The items that wait.
        running: The batches that were sealed and have not ended, oldest first.
        started: Whether batches may be cut: not before the queue has started.
        draining: Whether all that waits is due.
        stopped: Why no batch is cut any more; None while they are.
        failed: Whether a flush or the policy has failed.
        delivered: How many items were delivered.
        dropped: How many items the failure handler dropped.
        flushes: How many batches have ended, by reason.
        undelivered: The items that were accepted and never handed over.
        in_doubt: The items that were handed over, in a flush that raised or was interrupted.
        now: The last time that the policy was told.
        decision: What it answered.
    """

    def __init__(
        self,
        policy: FlushPolicy,
        dedupe_key: DedupeKey[T] | None = None,
        weigh: Weigh[T] | None = None,
        max_in_flight: int = 1,
        label: str = "",
    ) -> None:
        check_count("max_in_flight", max_in_flight)
        self.policy = running_copy(policy, max_in_flight)
        caps = self.policy.max_records, self.policy.max_weight
        check_caps(*caps)
        self.buffer = Buffer(dedupe_key, weigh, *caps, label)
        self.running: dict[Batch[T], None] = {}
        self.started = self.draining = self.failed = False
        self.stopped: str | None = None
        self.delivered = self.dropped = 0
        self.flushes: dict[str, int] = {}
        self.undelivered: list[T] = []
        self.in_doubt: list[T] = []
        self.now = -math.inf
        self.decision: Decision = _WAIT
        self._max_in_flight = max_in_flight
        self._label = label
        self._barrier = 0
        self._told = 0
        self._told_duplicates = 0
        self._failure: _End | None = None
        self._interruption: BaseException | None = None
        self._unsent: list[tuple[int, list[T]]] = []
        self._doubtful: list[tuple[int, list[T]]] = []

    # Items come in.

    @property
    def burst(self) -> int:
        """How many items, duplicates included, have come since the policy was told of any."""
        buffer = self.buffer
        return len(buffer.items) - self._told + buffer.duplicates - self._told_duplicates

    def tell_arrivals(self, now: float) -> None:
        """Tell the policy of the items that have come since the last time, the first at ``now``."""
        buffer = self.buffer
        count, weight = len(buffer.items) - self._told, buffer.fresh_weight
        self._told_duplicates = buffer.duplicates
        buffer.fresh_weight = 0
        if count > 0:
            self._told += count
            self._tell("item_added", now, count, weight)

    # Batches go out.

    @property
    def wake_at(self) -> float:
        """When to call :meth:`tick` unless something else happens; inf: not at all."""
        decision = self.decision
        return math.inf if isinstance(decision, Flush) or self._idle else decision.until

    def tick(self, now: float) -> None:
        """The time asked for has come."""
        self._tell("tick", now)

    def due(self, *, pressed: bool = False) -> Flush | None:
        """The flush that is due, if there is one and a slot is free.

        The arrivals must have been told. ``pressed`` says that a producer waits for room.
        """
        if self.draining:
            due = _DRAIN
        elif self.buffer.first < self._barrier:
            due = _BARRIER
        elif isinstance(self.decision, Flush):
            due = self.decision
        elif pressed:
            due = _PRESSURE
        else:
            return None
        return None if self._idle else due

    def seal(self, due: Flush, now: float) -> Batch[T] | None:
        """Cut the batch of a flush that is due.

        The policy has been told of the flush when this returns; if it raised, the batch is
        undelivered and None is returned.
        """
        buffer = self.buffer
        first, oldest = buffer.first, self.policy.queue.oldest
        most = self._told if due.up_to is None else min(self._told, due.up_to)
        items, weight = buffer.cut(most)
        count = len(items)
        self._told -= count
        self.now = max(self.now, now)
        behind = len(buffer.items)
        batch = Batch(items, count, weight, due.reason, first, oldest, self.now, behind)
        self.running[batch] = None
        try:
            self._tell("flush_started", now, count, weight)
        finally:
            if self.failed:
                del self.running[batch]
                self._lose(batch)
        return None if self.failed else batch

    def end_part(self, batch: Batch[T], ended: Mapping[int, BaseException | None]) -> None:
        """Some items of a batch have ended, delivered or dropped, while others go on."""
        delivered = sum(error is None for error in ended.values())
        dropped = len(ended) - delivered
        batch.delivered_early += delivered
        batch.dropped_early += dropped
        self.delivered += delivered
        self.dropped += dropped

    def finish(self, batch: Batch[T], now: float, error: BaseException | None = None) -> None:
        """A batch has ended: what was handed over is delivered, unless it was dropped or lost.

        Without an ``error`` nothing of it is lost.
        """
        del self.running[batch]
        lost = 0 if batch.handed and error is None else self._lose(batch)
        self.dropped += len(batch.dropped) - batch.dropped_early
        self.delivered += batch.count - len(batch.dropped) - lost - batch.delivered_early
        self.flushes[batch.reason] = self.flushes.get(batch.reason, 0) + 1
        if error is not None:
            self._blame(batch, error)
        batch.seconds = max(self.now, now) - batch.started
        self._tell("flush_done", now, batch.count, batch.seconds, error)

    # Barriers, drain, end.

    def barrier(self) -> int:
        """Make all that was accepted by now due, and return the number that marks its end."""
        self._barrier = self.buffer.end
        return self._barrier

    @property
    def settled(self) -> int:
        """The number below which every item has ended."""
        return next((batch.first for batch in self.running), self.buffer.first)

    @property
    def first_lost(self) -> float:
        """The number of the first item that was not delivered; inf if there is none."""
        firsts = (lost[0][0] for lost in (self._unsent, self._doubtful) if lost)
        return min(firsts, default=math.inf)

    @property
    def lost(self) -> tuple[int, int]:
        """How many items are undelivered, and how many in doubt, whoever empties the lists."""
        return _count(self._unsent), _count(self._doubtful)

    @property
    def in_flight(self) -> int:
        """How many items are in batches that run, and have not ended."""
        return sum(batch.open for batch in self.running)

    @property
    def busy(self) -> bool:
        """Whether every slot is taken."""
        return len(self.running) >= self._max_in_flight

    def runs(self, batch: Batch[T] | None) -> bool:
        """Whether there is such a batch and its flush goes on."""
        return batch is not None and batch in self.running and not batch.returned

    @property
    def _idle(self) -> bool:
        """Whether nothing can be cut, whatever anyone says."""
        return (
            not self._told
            or len(self.running) >= self._max_in_flight
            or not self.started
            or self.stopped is not None
        )

    @property
    def finished(self) -> bool:
        """Whether nothing runs and nothing waits that could still be flushed."""
        return not self.running and not self.buffer.items

    def stop(self, why: str) -> None:
        """Cut no batch any more: what waits is undelivered. The first reason is kept."""
        self.stopped = self.stopped or why
        if self.buffer:
            first, items = self.buffer.first, self.buffer.clear()
            self._list(self._unsent, self.undelivered, first, items)

    def outcome(self) -> QueueEnded | None:
        """How it ended: a new exception, or None if nothing has failed and nothing was lost."""
        return self.loss()() if self.failed or self._unsent or self._doubtful else None

    @property
    def decided(self) -> bool:
        """Whether it is known how it ends: no flush that runs can make it fail any more."""
        return self.failed or (
            self.stopped is not None and all(batch.interrupted for batch in self.running)
        )

    def loss(self) -> Callable[[], QueueEnded]:
        """Why what is lost by now was lost: what makes a new exception, and always the same."""
        return partial(
            self._exception,
            self._failure or _End(ShutdownTimeout, self.stopped, self._interruption),
        )

    def _exception(self, end: _End) -> QueueEnded:
        error = end.kind(f"{self._label}{end.message}", self.undelivered, self.in_doubt)
        error.__cause__ = end.cause
        return error

    def _tell(self, event: str, now: float, *facts: object) -> None:
        """Tell the policy of an event; the queue ends if it raises or answers nonsense."""
        if self._failure is not None and self._failure.kind is PolicyError:
            return
        self.now = max(self.now, now)
        try:
            decision = getattr(self.policy, event)(self.now, *facts)
            queue = self.policy.queue
            if queue.pending != self._told or queue.in_flight != len(self.running):
                flaw: str | None = self._miscount()
            else:
                flaw = flaw_of(decision, self.now)
        except BaseException as error:
            self._fail_policy(f"raised {shown(error)} in {event}", error)
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            return
        if flaw is None:
            self.decision = decision
        else:
            self._fail_policy(f"answered {event} with {shown(decision)}: {flaw}", None)

    def _miscount(self) -> str:
        """Where the policy's facts differ from the queue's, after an event."""
        queue = self.policy.queue
        return (
            f"it counts {queue.pending} pending and {queue.in_flight} in flight, not "
            f"{self._told} and {len(self.running)}; an override returns super()'s answer"
        )

    def _fail_policy(self, what: str, cause: BaseException | None) -> None:
        self._fail(PolicyError, f"the policy {type(self.policy).__name__} {what}", cause)

    def _lose(self, batch: Batch[T]) -> int:
        """What was neither delivered nor dropped of a batch is lost; return how many items."""
        if batch.lost is None:
            batch.lost = range(batch.count)
        if batch.lost:
            first = batch.first + batch.lost[0]
            items = [batch.items[position] for position in batch.lost]
            if batch.handed:
                self._list(self._doubtful, self.in_doubt, first, items)
            else:
                self._list(self._unsent, self.undelivered, first, items)
        return len(batch.lost)

    def _blame(self, batch: Batch[T], error: BaseException) -> None:
        """Who is to blame for a flush that raised: the queue that cancelled it, or flush_fn."""
        if not batch.interrupted:
            self._fail(FlushFailed, f"a flush of {batch.count} items failed: {shown(error)}", error)
        elif batch.handed and self._interruption is None:
            self._interruption = error

    def _fail(self, kind: type[QueueEnded], what: str, cause: BaseException | None) -> None:
        self.failed = True
        self._failure = self._failure or _End(kind, what, cause)
        self.stop(what)

    @staticmethod
    def _list(lost: list[tuple[int, list[T]]], listed: list[T], first: int, items: list[T]) -> None:
        """Enter lost items into a list that users hold, in order of acceptance."""
        lost.append((first, items))
        lost.sort(key=itemgetter(0))
        listed[:] = chain.from_iterable(items for _, items in lost)


def _count(lost: list[tuple[int, list[T]]]) -> int:
    return sum(len(items) for _, items in lost)
