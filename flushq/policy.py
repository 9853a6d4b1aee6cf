"""The state machine that decides when to flush.

The rules it keeps:

* A policy never reads a clock, never touches an event loop, never sees an item. Every time is an
  argument, in seconds on any clock that does not run backwards.
* Four events come in: :meth:`~FlushPolicy.item_added`, :meth:`~FlushPolicy.flush_started`,
  :meth:`~FlushPolicy.flush_done`, :meth:`~FlushPolicy.tick`. One :data:`Decision` comes out of
  each: :class:`Flush` or :class:`Wait`.
* The facts (how many items wait, since when, how many flushes run) are kept by
  :class:`~flushq.facts.QueueState` and nobody else. The opinion is :meth:`~FlushPolicy.decide`, the
  one method that a subclass writes. It changes nothing.
* ``decide`` is asked only when the answer matters: while something is pending and a flush slot is
  free. In every other state the event answers ``Wait()`` by itself.
"""

import abc
import copy
import functools
import math
from typing import Any, Self

import attrs

from flushq.arguments import as_plain, check_count, check_positive, copy_of, is_int, is_real
from flushq.facts import QueueState


@attrs.frozen
class Flush:
    """Start a flush now, of the oldest pending items.

    Args:
        reason: Why; shown to those who ask why the queue flushed.
        up_to: Take at most so many items. None: as many as the caps allow.
    """

    reason: str = "policy"
    up_to: int | None = None


@attrs.frozen
class Wait:
    """Do nothing until something happens, or until this time at the latest.

    Args:
        until: Seconds, on the clock of ``now``, and later than ``now``. It is a promise: if
            nothing happens before it, ``tick(until)`` answers :class:`Flush`.
    """

    until: float = math.inf


_UNCHANGEABLE = frozenset({type(None), bool, int, float, str})
"""The types of which deepcopy gives back what it was given, after a longer look."""

EVENTS = "item_added", "flush_started", "flush_done", "tick"

Decision = Flush | Wait
"""What a policy answers."""

IDLE = Wait()
"""What an event answers while decide is not asked."""

wait_until = functools.lru_cache(typed=True)(Wait)
"""A Wait until a time; while the time stays the same, the same Wait, which costs less."""


class FlushPolicy(abc.ABC):
    """When to flush: four events in, a :data:`Decision` out of each.

    A subclass writes :meth:`decide`. It may be a plain class, ``@attrs.define`` or
    ``@attrs.frozen``, and need not call ``super().__init__()``. A policy that learns overrides an
    event, updates fields of its own and returns ``super().<event>(...)``: the base class is what
    keeps the facts. One that learns from the facts after the event calls ``super().<event>(...)``
    first, and returns :meth:`answer`.

    Each event returns the decision by then: that of ``decide`` if it matters, else ``Wait()``.
    Times are in seconds. An event that cannot have happened (a time before the last one, more
    items than wait, a flush too many) is a ValueError, a count that is not an int is a TypeError;
    either changes nothing.

    A policy object is a template: each queue and each simulation runs a deep copy of it with a
    :class:`QueueState` of its own, so one object may be given to many.

    Attributes:
        queue: The facts, to be read.
        max_records: A hard cap on the items of a batch, whatever the reason of the flush. None: no
            cap.
        max_weight: A hard cap on the weight of a batch. None: no cap.
    """

    __slots__ = ("__dict__", "__weakref__", "queue")

    queue: QueueState
    max_records: int | None = None
    max_weight: float | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Give the instance its facts, whatever its ``__init__`` does."""
        self = super().__new__(cls)
        object.__setattr__(self, "queue", QueueState())
        return self

    def __class_getitem__(cls, item: object) -> type[Self]:
        """The class itself: policies know nothing of items, and flushq 0.2.2 named their type."""
        return cls

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        clone = type(self).__new__(type(self))
        memo[id(self)] = clone
        for name, value in attributes_of(self).items():
            copied = value if type(value) in _UNCHANGEABLE else copy.deepcopy(value, memo)
            object.__setattr__(clone, name, copied)
        return clone

    @abc.abstractmethod
    def decide(self, now: float) -> Decision:
        """Flush or wait? Asked after every event while something is pending and a slot is free.

        It must change nothing, and of the same facts at the same time make the same decision.
        """

    def item_added(self, now: float, count: int = 1, weight: float = 0.0) -> Decision:
        """``count`` items have arrived, of ``weight`` in all."""
        self.queue.item_added(now, count, weight)
        return self.answer(now)

    def flush_started(self, now: float, count: int, weight: float = 0.0) -> Decision:
        """``count`` of the oldest items, of ``weight`` in all, left the queue for flush_fn."""
        self.queue.flush_started(now, count, weight)
        return self.answer(now)

    def flush_done(
        self, now: float, count: int, seconds: float, error: BaseException | None = None
    ) -> Decision:
        """A flush of ``count`` items has ended after ``seconds``, with ``error`` if it failed."""
        self.queue.flush_done(now, count, seconds)
        return self.answer(now)

    def tick(self, now: float) -> Decision:
        """The time asked for with :class:`Wait` has come."""
        self.queue.tick(now)
        return self.answer(now)

    @property
    def full(self) -> bool:
        """Whether the waiting items reach max_records or max_weight. Always False without a cap."""
        return (self.max_records is not None and self.queue.pending >= self.max_records) or (
            self.max_weight is not None and self.queue.weight >= as_plain(self.max_weight)
        )

    def answer(self, now: float) -> Decision:
        """The decision by the facts as they are now, for events of a subclass.

        That of ``decide`` while something is pending and a slot is free, else ``Wait()``.
        """
        queue = self.queue
        if queue.pending == 0 or queue.in_flight >= queue.max_in_flight:
            return IDLE
        return self.decide(now)


def flaw_in(decision: Any, now: float) -> str | None:
    """What is wrong with an answer that was given at ``now``, if anything."""
    if isinstance(decision, Wait):
        until = decision.until
        if (type(until) is float and until > now) or _is_after(until, now):
            return None
        return f"until must be a time after {now!r}"
    if not isinstance(decision, Flush):
        return "a decision is a Flush or a Wait"
    reason: Any = decision.reason
    if not isinstance(reason, str):
        return "reason must be a str"
    if decision.up_to is None or _is_limit(decision.up_to):
        return None
    return "up_to must be None or an int of at least 1"


def check_caps(max_records: int | None, max_weight: float | None) -> None:
    """Refuse what is not a cap.

    Raises:
        ValueError: A cap is zero, negative or NaN.
        TypeError: ``max_records`` is not an int, or ``max_weight`` not a real number.
    """
    if max_records is not None:
        check_count("max_records", max_records)
    if max_weight is not None:
        check_positive("max_weight", max_weight)


def running_copy(policy: FlushPolicy, max_in_flight: int) -> FlushPolicy:
    """A deep copy of the policy whose facts start afresh.

    Raises:
        TypeError: ``policy`` is not a FlushPolicy, or cannot be deep-copied.
    """
    clone: FlushPolicy = copy_of("policy", policy, FlushPolicy)
    object.__setattr__(clone, "queue", QueueState(max_in_flight))
    return clone


def is_plain(policy: FlushPolicy) -> bool:
    """Whether a deep copy of a policy holds the very values that the policy holds."""
    is_usual = type(policy).__deepcopy__ is FlushPolicy.__deepcopy__
    return is_usual and all(type(each) in _UNCHANGEABLE for each in attributes_of(policy).values())


def overridden_events(policy: FlushPolicy) -> tuple[str, ...]:
    """The events at which a policy does more than to keep its facts."""
    return tuple(
        [
            event
            for event, keeps_facts in _KEEPING_FACTS.items()
            if getattr(getattr(policy, event), "__func__", None) is not keeps_facts
        ]
    )


_KEEPING_FACTS = {event: getattr(FlushPolicy, event) for event in EVENTS}


def attributes_of(policy: FlushPolicy) -> dict[str, Any]:
    """All that an instance holds, in its ``__dict__`` and in slots, but for its facts."""
    state: Any = object.__getstate__(policy)
    held, slots = state if isinstance(state, tuple) else (state, {})
    attributes = {**(held or {}), **slots}
    del attributes["queue"]
    return attributes


def _is_after(until: Any, now: float) -> bool:
    return is_real(until) and bool(until > now)


def _is_limit(number: object) -> bool:
    return is_int(number) and number >= 1
