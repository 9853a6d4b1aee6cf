"""The state machine that decides when a call of flush_fn may start.

Its rules:

* A throttle never reads a clock, never touches an event loop and never sees an item. It learns the
  time from arguments, in seconds on any clock that does not run backwards.
* A throttle gets two events, :meth:`~Throttle.call_started` and :meth:`~Throttle.call_done`, and
  returns nothing for them. It answers one question, :meth:`~Throttle.ready_at`, which changes
  nothing.
* The events are about calls of ``flush_fn``: the first call for a batch, and each call for a retry
  or for a half of a batch. Each call has one start and one end, however many items it has.
* No reason to flush overrides a throttle. A policy says when a flush should start, and a throttle
  says when a call may start.
"""

import abc
import math
from typing import Any

from flushq.arguments import as_float, copy_of, is_real


class Throttle(abc.ABC):
    """The base class of objects that decide when a call of ``flush_fn`` may start.

    A subclass defines :meth:`ready_at`, and the methods of the events that it needs. It may be a
    plain class or use ``@attrs.define``, and need not call ``super()``. Times are in seconds.

    A throttle object is a template: each queue and each simulation runs a deep copy of it. So one
    object may be given to many queues. Its limit then holds for each queue separately.
    """

    def call_started(  # noqa: B027 - a throttle may ignore this event
        self, now: float, count: int, weight: float = 0.0
    ) -> None:
        """Record that a call has started, with ``count`` items that weigh ``weight`` in total."""

    def call_done(  # noqa: B027 - a throttle may ignore this event
        self,
        now: float,
        count: int,
        seconds: float,
        weight: float = 0.0,
        error: BaseException | None = None,
    ) -> None:
        """Record that a call has ended, ``seconds`` after its start.

        ``count`` and ``weight`` are the same as at the start of the call. ``error`` is the
        exception of the call, or None if the call succeeded.
        """

    @abc.abstractmethod
    def ready_at(self, now: float) -> float:
        """Return the time from which a call may start, if no event comes before that time.

        ``now`` or an earlier time means that a call may start at once. inf means that no call may
        start before a running call has ended. This method must change nothing, for any ``now``.
        After the same events it must return the same answer for the same ``now``. As long as no
        event comes, it must allow a call at once if it is asked at or after the returned time.
        """


def flaw_in(ready: Any, *, waiting: bool) -> str | None:
    """Return what is wrong with an answer of ready_at, or None if the answer is valid.

    Args:
        ready: The answer.
        waiting: Whether a call still runs or a retry still pauses. If not, the answer must not be
            inf, because no call could ever start.
    """
    if not is_real(ready) or math.isnan(as_float(ready)):
        return f"a time must be a real number, not {ready!r}"
    if as_float(ready) == math.inf and not waiting:
        return "the time must not be inf while no call runs: no call could ever start again"
    return None


def throttle_copy(throttle: Throttle) -> Throttle:
    """Return a deep copy of the throttle.

    Raises:
        TypeError: ``throttle`` is not a Throttle, or cannot be deep-copied.
    """
    copied: Throttle = copy_of("throttle", throttle, Throttle)
    return copied
