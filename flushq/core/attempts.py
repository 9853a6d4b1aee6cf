"""A batch that failed: what comes next, and what becomes of each of its items.

Theory of operation. flush_fn is called with a batch as a whole, and nothing here is needed if it
returns. If it raises, the driver makes :class:`Attempts` of the batch. Then it does what ``next``
says, and tells what came of it, until ``next`` is None::

    Ask(failure)     ask the failure handler      judged(verdict), or broke(error) if it raised
    Pause(seconds)   wait in the line of calls    paused(), or cut(error) if it was cut short
    Call(items)      call flush_fn                returned(), or raised(error, ...)

The line of calls (flushq.core.starts) tells the driver when the pause is over and flush_fn may be
called; it tells it as well that this will not happen any more.

The *parts* of the batch are kept on a stack, the one to call flush_fn with on top; at first there
is one, all of it. What was raised becomes a :class:`Failure`, the handler answers with a verdict,
and the verdict is done to the part on top: it goes (dropped, failed), stays (to be retried) or is
replaced by its halves. If flush_fn returns then, it goes as well. So the parts come in order, one
after the other, and the batch keeps its slot: from outside it is one long flush. What has ended
meanwhile, delivered or dropped, is noted at once.
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
"""Positions that have ended: with the exception of those that were dropped; None: delivered."""

NoteEnded = Callable[[Batch[T], Ended], None]

NoteCallEnded = Callable[[Batch[T], float, BaseException | None], None]
"""Is told when a call of flush_fn has ended, and with what."""


class Call(NamedTuple, Generic[T]):
    """Call flush_fn with these items: a list of its own."""

    items: list[T]


class Pause(NamedTuple):
    """Let so many seconds pass; 0: let others run.

    With ``holds`` no other call of flush_fn starts meanwhile.
    """

    seconds: float
    holds: bool = False


class Ask(NamedTuple, Generic[T]):
    """Ask the failure handler about this."""

    failure: Failure[T]


class Attempts(Generic[T]):
    """The way of a batch that has failed. Nothing that happens to it is raised.

    Args:
        batch: The batch.
        has_handler: Whether there is a failure handler; without one every failure ends the queue.
        note_ended: Is called with the positions that have ended while the others go on.
        note_call_ended: Is called when a call of flush_fn has ended.

    Attributes:
        batch: The batch.
        next: What the driver is to do; None: nothing, all is over.
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
        """The number, from 1, of the call with these items that comes next or that runs."""
        return self._parts.attempt

    @property
    def size(self) -> tuple[int, float]:
        """How many items the next call is made with, and what they weigh."""
        positions, weights = self._parts.positions, self.batch.weights
        if len(positions) == self.batch.count:
            return self.batch.count, self.batch.weight
        return len(positions), sum(weights[at] for at in positions) if weights else 0

    def raised(self, error: BaseException, now: float, *, may_ask: bool) -> None:
        """flush_fn raised at ``now``; ``may_ask`` says that it was not because of the queue.

        An interrupted flush, an interrupt of the program and the like do not concern the
        handler.
        """
        self._note_call_ended(self.batch, now, error)
        try:
            failure = self._parts.raised(error, max(0.0, now - self.batch.started))
        except BaseException as flaw:  # of a PartialFailure, which a user has made
            self._end(flaw)
            return
        if self.batch.interrupted:
            self._end(error)
        elif self._has_handler and may_ask:
            self._tell_ended()
            self.next = Ask(failure)
        else:
            self.judged(FAIL)

    def judged(self, answer: Any) -> None:
        """The handler has answered."""
        verdict = as_verdict(answer)
        if not isinstance(verdict, Verdict):
            self.broke(TypeError(f"on_failure must answer with a verdict, not {shown(answer)}"))
            return
        self._parts.judge(verdict)
        if self._parts.failed:
            self._end(self._parts.error)
        else:
            self._go_on()

    def broke(self, error: BaseException) -> None:
        """The handler has raised: what it was asked about has failed, unless it was cut short."""
        asked_about = self._parts.error
        if not self.batch.interrupted:
            self._parts.judge(FAIL)
        if error.__cause__ is None and not _is_or_comes_from(asked_about, error):
            error.__cause__ = asked_about
        self._end(error)

    def paused(self) -> None:
        """The time has passed."""
        self.next = Call(self.batch.call(self._parts.items()))

    def cut(self, error: BaseException) -> None:
        """The time was cut short."""
        error.__cause__ = self._parts.error
        self._end(error)

    def returned(self, now: float) -> None:
        """flush_fn has returned, at ``now``."""
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
        self.batch.conclude(error, parts.dropped, parts.failed, parts.lost)
        parts.forget()
        self.next = None


class _Part(NamedTuple, Generic[T]):
    items: Sequence[T]
    positions: Sequence[int]
    attempt: int = 1
    pause: Pause = Pause(0.0)


class Parts(Generic[T]):
    """The parts of a batch that failed, and what became of each position.

    Args:
        items: The items of the batch.
        reason: Why it was flushed.
        partition: The key of its partition.

    Attributes:
        ended: Each position that has ended and that nobody has taken yet, mapped to its exception
            if it was dropped, or to None if it was delivered.
        dropped: The positions that were dropped, and the exception of each.
        failed: The positions whose failure ends the queue, and the exception of each.
        error: What flush_fn raised last, if it has raised.
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
        """Whether there is a part to call flush_fn with."""
        return bool(self._parts)

    @property
    def pause(self) -> Pause:
        """What is to be waited for before flush_fn is called again."""
        return self._parts[-1].pause

    @property
    def positions(self) -> Sequence[int]:
        """The positions of the items of the part."""
        return self._parts[-1].positions

    @property
    def attempt(self) -> int:
        """How many times the part has been handed over when flush_fn has been called with it."""
        return self._parts[-1].attempt

    @property
    def lost(self) -> Sequence[int]:
        """The positions that are neither delivered nor dropped, in order."""
        return sorted(chain(self.failed, *(part.positions for part in self._parts)))

    def items(self) -> list[T]:
        """The items of the part: a list to give away."""
        return list(self._parts[-1].items)

    def take_ended(self) -> Ended:
        """What has ended since the last time."""
        ended, self.ended = self.ended, {}
        return ended

    def forget(self) -> None:
        """Let go of the exceptions whose tracebacks lead back here."""
        self.error, self._errors = None, {}
        self.ended.clear()

    def returned(self) -> None:
        """flush_fn returned: the part is delivered."""
        self.ended.update(dict.fromkeys(self._parts.pop().positions))

    def raised(self, error: BaseException, seconds: float) -> Failure[T]:
        """flush_fn raised: after a PartialFailure, the rest of the part is delivered.

        Raises:
            ValueError: The PartialFailure makes no sense for this part, which has failed as a
            whole.
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
        """Do what the verdict says to the part that failed."""
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
        """Make the part those that failed, and return the exception of each position."""
        part = self._parts[-1]
        flaw = _flaw(error.errors, len(part.positions))
        if flaw is not None:
            mistake = ValueError(f"flush_fn raised a PartialFailure that makes no sense: {flaw}")
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
    """The flaw in the errors of a PartialFailure of ``count`` items, if there is one."""
    if not isinstance(errors, Mapping):
        return f"it takes a mapping of indices to exceptions, not {shown(errors)}"
    if not errors:
        return "it names no item"
    return next(filter(None, (_flaw_of(count, *pair) for pair in errors.items())), None)


def _flaw_of(count: int, index: object, error: object) -> str | None:
    if not (is_int(index) and 0 <= index < count):
        return f"{shown(index)} is not an index of a batch of {count} items"
    if not isinstance(error, BaseException):
        return f"{shown(error)}, of index {index}, is not an exception"
    return None
