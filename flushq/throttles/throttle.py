"""The state machine that decides when a call of flush_fn may start.

The rules it keeps:

* A throttle never reads a clock, never touches an event loop, never sees an item. Every time is an
  argument, in seconds on any clock that does not run backwards.
* Two events come in, :meth:`~Throttle.call_started` and :meth:`~Throttle.call_done`, and nothing
  comes out. One question is asked: :meth:`~Throttle.ready_at`. It changes nothing.
* What counts is a call of ``flush_fn``: the first of a batch, and each that a retry or a half of a
  batch needs. A call is one event, however many items it has.
* No reason to flush overrules a throttle. A policy says when a flush is worth it, a throttle when
  a call may start.
"""

import abc
import math
from typing import Any

from flushq.arguments import as_float, copy_of, is_real


class Throttle(abc.ABC):
    """When a call of ``flush_fn`` may start: two events in, and one question.

    A subclass writes :meth:`ready_at`, and those of the events that it needs. It may be a plain
    class or ``@attrs.define``, and need not call ``super()``. Times are in seconds.

    A throttle object is a template: each queue and each simulation runs a deep copy, so one object
    may be given to many. Each of them then has the whole limit for itself.
    """

    def call_started(  # noqa: B027 - a throttle need not hear of it
        self, now: float, count: int, weight: float = 0.0
    ) -> None:
        """One call has started, with ``count`` items, of ``weight`` in all."""

    def call_done(  # noqa: B027 - a throttle need not hear of it
        self,
        now: float,
        count: int,
        seconds: float,
        weight: float = 0.0,
        error: BaseException | None = None,
    ) -> None:
        """A call has ended, ``seconds`` after it has started, with ``error`` if it failed."""

    @abc.abstractmethod
    def ready_at(self, now: float) -> float:
        """From which time on a call may start, if nothing happens before.

        ``now`` or any time before it: at once. inf: not before a call that runs has ended. It must
        change nothing, whatever time it is asked about, and of the same events give the same
        answer. At the very time that it has answered, and ever after, it must say: at once.
        """


def flaw_in(ready: Any, *, waiting: bool) -> str | None:
    """What is wrong with an answer of ready_at, if anything.

    Args:
        ready: The answer.
        waiting: Whether something will happen by itself, such as the end of a call that runs. If
            not, inf would be for ever.
    """
    if not is_real(ready) or math.isnan(as_float(ready)):
        return f"a time must be a real number, not {ready!r}"
    if as_float(ready) == math.inf and not waiting:
        return "no call could ever start again: inf is for while a call runs"
    return None


def throttle_copy(throttle: Throttle) -> Throttle:
    """A deep copy of the throttle.

    Raises:
        TypeError: ``throttle`` is not a Throttle, or cannot be deep-copied.
    """
    copied: Throttle = copy_of("throttle", throttle, Throttle)
    return copied
