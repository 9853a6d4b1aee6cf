"""A batch after a failure: what its flush does next, and how each item ends.

Theory of operation. First flush_fn is called with the whole batch. If this call returns, nothing
in this module is used. If the call raises, the driver makes an :class:`Attempts` for the batch, and
calls ``raised(error, ...)``. Then it repeats two things until ``Attempts.next`` is None: it does
the step that ``next`` names, and reports the result with a method from the last column below::

    Ask(failure)     ask the failure handler    handler_answered(verdict), or handler_raised(error)
    Pause(seconds)   wait in the line of calls  paused(), or pause_cut_short(error)
    Call(items)      call flush_fn              returned(), or raised(error, ...)

The line of calls (flushq.core.starts) tells the driver when the pause is over and flush_fn may be
called, or that flush_fn will not be called again.

The *parts* of the batch are kept on a stack; at first there is one part, the whole batch. flush_fn
is called with the *current* part, the top of the stack. If flush_fn returns, this part leaves the
stack. If flush_fn raises, its exception becomes a :class:`Failure`, and the handler returns a
verdict about the current part. (After a PartialFailure only the failed items are left in the part.)
After Drop the part leaves the stack. After Retry it stays there. After Split its two halves take
its place. Fail ends the flush, and so does Split if the part has only one item. So flush_fn gets
the parts in order, one after the other. Meanwhile the batch keeps its slot: for the policy all
these calls are one long flush. If items are delivered or dropped while the flush still runs, the
core is told of these items before the next step.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import chain
from typing import Any, Generic, NamedTuple, TypeVar

from flushq.arguments import as_plain, is_int, shown
from flushq.core.batch import Batch
from flushq.errors import PartialFailure
from flushq.outcomes import FAIL, Drop, Failure, Retry, Split, Verdict, as_verdict

T = TypeVar("T")

Ended = Mapping[int, BaseException | None]
"""The items that have ended, by position: the exception if dropped, None if delivered."""

NoteEnded = Callable[[Batch[T], Ended], None]

NoteCallEnded = Callable[[Batch[T], float, BaseException | None], None]
"""A function that gets the batch, the time and the exception or None when a call has ended."""


class Call(NamedTuple, Generic[T]):
    """The step "call flush_fn with these items". The list is a copy that flush_fn may change."""

    items: list[T]


class Pause(NamedTuple):
    """The step "wait this many seconds before flush_fn is called with the current part".

    If ``seconds`` is 0, the call still waits for the next pass, and other tasks can run first. If
    ``holds`` is true, the queue starts no other call of flush_fn during the pause.
    """

    seconds: float
    holds: bool = False


class Ask(NamedTuple, Generic[T]):
    """The step "ask the failure handler about this failure"."""

    failure: Failure[T]


class Attempts(Generic[T]):
    """The steps that a flush takes after its first call of flush_fn has raised.

    No method raises an exception: an exception that ends the flush is kept in the batch.

    Args:
        batch: The batch of the flush.
        has_handler: Whether the queue has a failure handler. Without a handler every failure ends
            the queue.
        note_ended: The function that is told which items have ended while the flush still runs.
        note_call_ended: The function that is told that a call of flush_fn has ended.

    Attributes:
        batch: The batch of the flush.
        next: The next step for the driver. None before the first call of :meth:`raised`, and after
            the end of the flush.
    """

    def __init__(
        self,
        batch: Batch[T],
        note_ended: NoteEnded[T],
        note_call_ended: NoteCallEnded[T],
        *,
        has_handler: bool,
    ) -> None:
        self.next: Call[T] | Pause | Ask[T] | None = None
        self.batch = batch
        self._parts = Parts(batch.items, batch.reason, batch.partition)
        self._note_ended = note_ended
        self._note_call_ended = note_call_ended
        self._has_handler = has_handler

    @property
    def attempt(self) -> int:
        """How many calls the current part has had, including the call that runs or comes next."""
        return self._parts.attempt

    @property
    def size(self) -> tuple[int, float]:
        """The number of items that the next call of flush_fn gets, and their total weight."""
        positions, weights = self._parts.positions, self.batch.weights
        if len(positions) == self.batch.count:
            return self.batch.count, self.batch.weight
        return len(positions), sum(weights[at] for at in positions) if weights else 0

    def raised(self, error: BaseException, now: float, *, may_ask: bool) -> None:
        """Choose the next step after flush_fn raised ``error`` at ``now``.

        ``may_ask`` says whether the handler may be asked about ``error``. The handler must not
        be asked about an interrupt (KeyboardInterrupt), nor about a cancellation of the flush.
        """
        self._note_call_ended(self.batch, now, error)
        try:
            failure = self._parts.raised(error, max(0.0, now - self.batch.started))
        except BaseException as flaw:  # the user's PartialFailure is wrong
            self._end(flaw)
            return
        if self.batch.interrupted:
            self._end(error)
        elif self._has_handler and may_ask:
            self._tell_ended()
            self.next = Ask(failure)
        else:
            self.handler_answered(FAIL)

    def handler_answered(self, answer: Any) -> None:
        """Apply the answer of the failure handler, and choose the next step."""
        verdict = as_verdict(answer)
        if not isinstance(verdict, Verdict):
            self.handler_raised(
                TypeError(
                    "on_failure must return a verdict (Retry, Split, Drop or Fail), "
                    f"not {shown(answer)}"
                )
            )
            return
        self._parts.judge(verdict)
        if self._parts.failed:
            self._end(self._parts.error)
        else:
            self._go_on()

    def handler_raised(self, error: BaseException) -> None:
        """End the flush after the handler raised ``error``.

        The items that the handler was asked about count as failed, unless the queue interrupted the
        flush.
        """
        asked_about = self._parts.error
        if not self.batch.interrupted:
            self._parts.judge(FAIL)
        if error.__cause__ is None and not _is_or_comes_from(asked_about, error):
            error.__cause__ = asked_about
        self._end(error)

    def paused(self) -> None:
        """Choose a call of flush_fn as the next step, because the pause is over."""
        self.next = Call(self.batch.call(self._parts.items()))

    def pause_cut_short(self, error: BaseException) -> None:
        """End the flush with ``error``, because the pause was cut short."""
        error.__cause__ = self._parts.error
        self._end(error)

    def returned(self, now: float) -> None:
        """Record that flush_fn returned at ``now``, and choose the next step."""
        self._note_call_ended(self.batch, now, None)
        self._parts.returned()
        self._go_on()

    def _go_on(self) -> None:
        if self._parts.open:
            self._tell_ended()
            self.next = self._parts.pause
        else:
            self._end(None)

    def _tell_ended(self) -> None:
        if self._parts.ended:
            self._note_ended(self.batch, self._parts.take_ended())

    def _end(self, error: BaseException | None) -> None:
        parts = self._parts
        self.batch.end_after_failure(error, parts.dropped, parts.failed, parts.lost)
        parts.release()
        self.next = None


class _Part(NamedTuple, Generic[T]):
    items: Sequence[T]
    positions: Sequence[int]
    attempt: int = 1
    pause: Pause = Pause(0.0)


class Parts(Generic[T]):
    """The parts of a batch after a failure, and how the item at each position ended.

    Args:
        items: The items of the batch.
        reason: The reason of the flush.
        partition: The key of the partition; None in a queue without partitions.

    Attributes:
        ended: The items that have ended since the last :meth:`take_ended`, as a dict. A key is the
            position of an item. The value is the exception if the item was dropped, else None.
        dropped: The exception of each dropped item, by position.
        failed: The exception of each item whose failure ends the queue, by position.
        error: The last exception that flush_fn raised, or None.
    """

    def __init__(self, items: Sequence[T], reason: str, partition: Hashable = None) -> None:
        self.ended: dict[int, BaseException | None] = {}
        self.dropped: dict[int, BaseException] = {}
        self.failed: dict[int, BaseException] = {}
        self.error: BaseException | None = None
        self._errors: Mapping[int, BaseException] = {}
        self._reason = reason
        self._partition = partition
        self._parts = [_Part(items, range(len(items)))]

    @property
    def open(self) -> bool:
        """Whether any part of the batch is left on the stack."""
        return bool(self._parts)

    @property
    def pause(self) -> Pause:
        """The pause before the next call of flush_fn with the current part."""
        return self._parts[-1].pause

    @property
    def positions(self) -> Sequence[int]:
        """The positions that the items of the current part have in the batch."""
        return self._parts[-1].positions

    @property
    def attempt(self) -> int:
        """How many calls the current part has had, including the call that runs or comes next."""
        return self._parts[-1].attempt

    @property
    def lost(self) -> Sequence[int]:
        """The positions of the items that were neither delivered nor dropped, lowest first."""
        return sorted(chain(self.failed, *(part.positions for part in self._parts)))

    def items(self) -> list[T]:
        """Return the items of the current part, in a new list."""
        return list(self._parts[-1].items)

    def take_ended(self) -> Ended:
        """Return ``ended``, and set it to a new empty dict."""
        ended, self.ended = self.ended, {}
        return ended

    def release(self) -> None:
        """Release the exceptions, because their tracebacks refer back to this object."""
        self.error, self._errors = None, {}
        self.ended.clear()

    def returned(self) -> None:
        """Remove the current part from the stack: flush_fn returned, so its items are delivered."""
        self.ended.update(dict.fromkeys(self._parts.pop().positions))

    def raised(self, error: BaseException, seconds: float) -> Failure[T]:
        """Return the failure of the current part after flush_fn raised ``error``.

        If ``error`` is a PartialFailure, the items that it does not name are delivered.

        Raises:
            ValueError: The PartialFailure does not fit this part. Then the whole part has failed.
        """
        self.error, errors = error, None
        if isinstance(error, PartialFailure):
            self._errors = self._narrow(error)
            errors = list(self._errors.values())
        else:
            self._errors = dict.fromkeys(self._parts[-1].positions, error)
        return Failure(
            self.items(), error, errors, self.attempt, self._reason, seconds, self._partition
        )

    def judge(self, verdict: Verdict) -> None:
        """Apply a verdict to the current part, which has failed."""
        part = self._parts.pop()
        errors, self._errors = self._errors, {}
        match verdict:
            case Retry(after, hold):
                pause = Pause(as_plain(after), hold)
                self._parts.append(part._replace(attempt=part.attempt + 1, pause=pause))
            case Split() if len(part.items) > 1:
                half = (len(part.items) + 1) // 2
                self._parts.append(_Part(part.items[half:], part.positions[half:]))
                self._parts.append(_Part(part.items[:half], part.positions[:half]))
            case Drop():
                self.dropped.update(errors)
                self.ended.update(errors)
            case _:
                self.failed.update(errors)

    def _narrow(self, error: PartialFailure) -> Mapping[int, BaseException]:
        """Keep only the failed items in the current part; return their exceptions, by position."""
        part = self._parts[-1]
        flaw = _flaw(error.errors, len(part.positions))
        if flaw is not None:
            mistake = ValueError(f"flush_fn raised a wrong PartialFailure: {flaw}")
            self.failed.update(dict.fromkeys(part.positions, mistake))
            self._parts.pop()
            raise mistake from error
        indices = sorted(error.errors)
        items = [part.items[index] for index in indices]
        errors = {part.positions[index]: error.errors[index] for index in indices}
        self._parts[-1] = part._replace(items=items, positions=list(errors))
        self.ended.update(dict.fromkeys(at for at in part.positions if at not in errors))
        return errors


def _is_or_comes_from(error: BaseException | None, other: BaseException) -> bool:
    return error is other or (error is not None and error.__cause__ is other)


def _flaw(errors: object, count: int) -> str | None:
    """Return what is wrong with the errors of a PartialFailure, or None if they are valid.

    ``count`` is the number of items in the list that flush_fn got.
    """
    if not isinstance(errors, Mapping):
        return f"errors must be a mapping of indices to exceptions, not {shown(errors)}"
    if not errors:
        return "errors must name at least one item, but the mapping is empty"
    return next(filter(None, (_flaw_of(count, *pair) for pair in errors.items())), None)


def _flaw_of(count: int, index: object, error: object) -> str | None:
    if not (is_int(index) and 0 <= index < count):
        return f"an index must be an int from 0 to {count - 1}, not {shown(index)}"
    if not isinstance(error, BaseException):
        return f"the error of index {index} must be an exception, not {shown(error)}"
    return None
