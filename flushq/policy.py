"""The state machine that decides when to flush.

Its rules:

* A policy never reads a clock, never touches an event loop and never sees an item. It learns
  the time from arguments, in seconds on any clock that does not run backwards.
* A policy is told of four kinds of events: :meth:`~FlushPolicy.item_added`,
  :meth:`~FlushPolicy.flush_started`, :meth:`~FlushPolicy.flush_done` and :meth:`~FlushPolicy.tick`.
  It answers each event with one :data:`Decision`: :class:`Flush` or :class:`Wait`.
* Only :class:`~flushq.facts.QueueState` keeps the facts (how many items wait, since when, how many
  flushes run). A subclass of :class:`FlushPolicy` writes one method, :meth:`~FlushPolicy.decide`,
  which decides by these facts and changes nothing.
* ``decide`` is called only when the decision matters: while an item is pending and a slot is free.
  In every other state a policy answers each event with ``Wait()``.
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
    """The decision to flush the oldest pending items now.

    Args:
        reason: The reason of the flush, as reports and ``stats()`` show it.
        up_to: The most items to take. None: as many as ``max_records`` and ``max_weight`` allow.
    """

    reason: str = "policy"
    up_to: int | None = None


@attrs.frozen
class Wait:
    """The decision to do nothing until the next event, or until a given time at the latest.

    Args:
        until: A time in seconds. It must be later than the ``now`` of the event, on the same clock.
            The policy promises: if no event comes before that time, it answers ``tick(until)``
            with a :class:`Flush`. inf: wait for the next event.
    """

    until: float = math.inf


_UNCHANGEABLE = frozenset({type(None), bool, int, float, str})
"""The types whose values deepcopy returns as they are; skipping deepcopy for these is faster."""

EVENTS = "item_added", "flush_started", "flush_done", "tick"

Decision = Flush | Wait
"""The answer of a policy."""

IDLE = Wait()
"""The answer to an event when ``decide`` is not called."""

wait_until = functools.lru_cache(typed=True)(Wait)
"""Return ``Wait(until)``; the results of the last calls are cached, which is faster."""


class FlushPolicy(abc.ABC):
    """The base class of policies: a policy is told of events, and answers each with a Decision.

    A subclass writes :meth:`decide`. It may be a plain class or a class with ``@attrs.define``
    or ``@attrs.frozen``, and need not call ``super().__init__()``.

    A policy that learns from events has fields of its own, and overrides the methods of these
    events. Such a method updates the fields and returns ``super().<event>(...)``, because the base
    class updates the facts. If the fields depend on the facts after the event, the method calls
    ``super().<event>(...)`` first, then updates the fields, and returns ``self.answer(now)``.

    The method of each event returns the decision after that event. If an item is pending and a slot
    is free, this is the decision of ``decide``; otherwise it is ``Wait()``. Times are in seconds.
    For an event that cannot have happened, the method raises a ValueError. Examples: the time is
    before the time of the last event, the flush has more items than are pending, or every slot was
    already taken. For a count that is not an int, it raises a TypeError. After such an error the
    facts are unchanged.

    A policy object is a template: each queue and each simulation runs a deep copy of it with a
    :class:`QueueState` of its own. So one object may be given to many queues.

    Attributes:
        queue: The facts. A subclass may read them, but must not change them.
        max_records: The most items in a batch: a hard cap, whatever the reason of the flush. None:
            no cap.
        max_weight: The most weight in a batch, also a hard cap. None: no cap.
    """

    __slots__ = ("__dict__", "__weakref__", "queue")

    queue: QueueState
    max_records: int | None = None
    max_weight: float | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make an instance that has its facts, even if ``__init__`` does not call ``super()``."""
        self = super().__new__(cls)
        object.__setattr__(self, "queue", QueueState())
        return self

    def __class_getitem__(cls, item: object) -> type[Self]:
        """Return the class itself: ``FlushPolicy[Item]`` is allowed, as in flushq 0.2.2 on PyPI."""
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
        """Return the decision after an event: a Flush or a Wait.

        This method is called only if an item waits and a slot is free. It must change nothing, and
        must return the same decision for the same facts and time.
        """

    def item_added(self, now: float, count: int = 1, weight: float = 0.0) -> Decision:
        """Record the arrival of ``count`` items of total weight ``weight``; return the decision."""
        self.queue.item_added(now, count, weight)
        return self.answer(now)

    def flush_started(self, now: float, count: int, weight: float = 0.0) -> Decision:
        """Record that a flush has taken the ``count`` oldest items; return the decision.

        ``weight`` is the total weight of these items.
        """
        self.queue.flush_started(now, count, weight)
        return self.answer(now)

    def flush_done(
        self, now: float, count: int, seconds: float, error: BaseException | None = None
    ) -> Decision:
        """Record that a flush has ended; return the decision.

        The flush had ``count`` items and took ``seconds``. ``error`` is its exception, or None.
        """
        self.queue.flush_done(now, count, seconds)
        return self.answer(now)

    def tick(self, now: float) -> Decision:
        """Record that the time of the last :class:`Wait` has come; return the decision."""
        self.queue.tick(now)
        return self.answer(now)

    @property
    def full(self) -> bool:
        """Whether the waiting items reach max_records or max_weight; without a cap always False."""
        return (self.max_records is not None and self.queue.pending >= self.max_records) or (
            self.max_weight is not None and self.queue.weight >= as_plain(self.max_weight)
        )

    def answer(self, now: float) -> Decision:
        """Return the decision for the present facts.

        If an item is pending and a slot is free, the decision is ``decide(now)``; otherwise it is
        ``Wait()``. Subclasses that override events may call this method.
        """
        queue = self.queue
        if queue.pending == 0 or queue.in_flight >= queue.max_in_flight:
            return IDLE
        return self.decide(now)


def flaw_in(decision: Any, now: float) -> str | None:
    """Return what is wrong with a decision that was made at ``now``, or None if it is valid."""
    if isinstance(decision, Wait):
        until = decision.until
        if (type(until) is float and until > now) or _is_after(until, now):
            return None
        return f"until must be a time after {now!r}"
    if not isinstance(decision, Flush):
        return "a decision must be a Flush or a Wait"
    reason: Any = decision.reason
    if not isinstance(reason, str):
        return "reason must be a str"
    if decision.up_to is None or _is_limit(decision.up_to):
        return None
    return "up_to must be None or an int of at least 1"


def check_caps(max_records: int | None, max_weight: float | None) -> None:
    """Raise ValueError or TypeError unless both caps are valid.

    Raises:
        ValueError: A cap is zero, negative or NaN.
        TypeError: ``max_records`` is not an int, or ``max_weight`` is not a real number.
    """
    if max_records is not None:
        check_count("max_records", max_records)
    if max_weight is not None:
        check_positive("max_weight", max_weight)


def running_copy(policy: FlushPolicy, max_in_flight: int) -> FlushPolicy:
    """Return a deep copy of the policy, with the facts of an empty queue.

    Raises:
        TypeError: ``policy`` is not a FlushPolicy, or cannot be deep-copied.
    """
    clone: FlushPolicy = copy_of("policy", policy, FlushPolicy)
    object.__setattr__(clone, "queue", QueueState(max_in_flight))
    return clone


def is_plain(policy: FlushPolicy) -> bool:
    """Return whether the attributes of a deep copy are the same objects as those of the policy."""
    is_usual = type(policy).__deepcopy__ is FlushPolicy.__deepcopy__
    return is_usual and all(type(each) in _UNCHANGEABLE for each in attributes_of(policy).values())


def overridden_events(policy: FlushPolicy) -> tuple[str, ...]:
    """Return the names of the event methods that a policy overrides."""
    return tuple(
        [
            event
            for event, keeps_facts in _KEEPING_FACTS.items()
            if getattr(getattr(policy, event), "__func__", None) is not keeps_facts
        ]
    )


_KEEPING_FACTS = {event: getattr(FlushPolicy, event) for event in EVENTS}


def attributes_of(policy: FlushPolicy) -> dict[str, Any]:
    """Return all attributes of a policy, in ``__dict__`` and in slots, except its facts."""
    state: Any = object.__getstate__(policy)
    held, slots = state if isinstance(state, tuple) else (state, {})
    attributes = {**(held or {}), **slots}
    del attributes["queue"]
    return attributes


def _is_after(until: Any, now: float) -> bool:
    return is_real(until) and bool(until > now)


def _is_limit(number: object) -> bool:
    return is_int(number) and number >= 1
