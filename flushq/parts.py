"""What becomes of a batch that failed, part by part: a machine without a loop.

Theory of operation. A batch is handed over as a whole, and nothing here is needed if ``flush_fn``
returns. If it raises, the parts of the batch are kept on a stack, the one to hand over on top; at
first there is one, all of it. What was raised becomes a :class:`Failure`, the handler answers with
a verdict, and the verdict is done to the part on top: it goes (dropped, failed), stays (to be
handed over again) or is replaced by its halves. If ``flush_fn`` returns then, it goes as well. So
the parts are handed over in order, one after the other, and the batch keeps its slot: whoever looks
from outside sees one long flush.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Generic, TypeVar

import attrs

from flushq.arguments import is_int, shown
from flushq.errors import PartialFailure
from flushq.outcomes import Drop, Failure, Retry, Split, Verdict

T = TypeVar("T")


@attrs.frozen
class _Part(Generic[T]):
    items: Sequence[T]
    positions: Sequence[int]
    attempt: int = 1
    pause: float = 0.0


class Parts(Generic[T]):
    """What becomes of a batch that was handed over and failed.

    Args:
        items: The items of the batch.
        reason: Why it was flushed.

    Attributes:
        ended: The positions that have ended and that nobody has taken yet, with the exception of
            those that were dropped, and None for those that were delivered.
        dropped: The positions that were dropped, and the exception of each.
        failed: The positions of which a failure ends the queue, and the exception of each.
        error: What ``flush_fn`` raised last, if it has raised.
    """

    _errors: Mapping[int, BaseException]

    def __init__(self, items: Sequence[T], reason: str) -> None:
        self.ended: dict[int, BaseException | None] = {}
        self.dropped: dict[int, BaseException] = {}
        self.failed: dict[int, BaseException] = {}
        self.error: BaseException | None = None
        self._reason = reason
        self._parts = [_Part(items, range(len(items)))]

    @property
    def open(self) -> bool:
        """Whether there is a part to hand over."""
        return bool(self._parts)

    @property
    def pause(self) -> float:
        """Seconds to wait before it is handed over again."""
        return self._parts[-1].pause

    @property
    def lost(self) -> Sequence[int]:
        """The positions that are neither delivered nor dropped, in order."""
        return sorted(chain(self.failed, *(part.positions for part in self._parts)))

    def items(self) -> list[T]:
        """The items of the part: a list to give away."""
        return list(self._parts[-1].items)

    def take_ended(self) -> Mapping[int, BaseException | None]:
        """What has ended since the last time."""
        ended, self.ended = self.ended, {}
        return ended

    def returned(self) -> None:
        """``flush_fn`` returned: the part is delivered."""
        self.ended.update(dict.fromkeys(self._parts.pop().positions))

    def raised(self, error: BaseException, seconds: float) -> Failure[T]:
        """``flush_fn`` raised: after a PartialFailure, the rest of the part is delivered.

        Raises:
            ValueError: The PartialFailure is none of this part, which has failed as a whole.
        """
        self.error, errors = error, None
        if isinstance(error, PartialFailure):
            self._errors = self._narrow(error)
            errors = list(self._errors.values())
        else:
            self._errors = dict.fromkeys(self._parts[-1].positions, error)
        attempt = self._parts[-1].attempt
        return Failure(self.items(), error, errors, attempt, self._reason, seconds)

    def judge(self, verdict: Verdict) -> None:
        """Do what the verdict says to the part that failed."""
        part = self._parts.pop()
        errors, self._errors = self._errors, {}
        match verdict:
            case Retry(after):
                self._parts.append(attrs.evolve(part, attempt=part.attempt + 1, pause=float(after)))
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
            refusal = ValueError(f"flush_fn raised a PartialFailure that makes no sense: {flaw}")
            self.failed.update(dict.fromkeys(part.positions, refusal))
            self._parts.pop()
            raise refusal from error
        indices = sorted(error.errors)
        items = [part.items[index] for index in indices]
        errors = {part.positions[index]: error.errors[index] for index in indices}
        self._parts[-1] = attrs.evolve(part, items=items, positions=list(errors))
        self.ended.update(dict.fromkeys(at for at in part.positions if at not in errors))
        return errors


def _flaw(errors: object, count: int) -> str | None:
    """What is wrong with the errors of a PartialFailure of ``count`` items, if anything is."""
    if not isinstance(errors, Mapping):
        return f"it takes a mapping of indices to exceptions, not {shown(errors)}"
    if not errors:
        return "it names no item"
    return next(filter(None, (_flaw_of(count, *pair) for pair in errors.items())), None)


def _flaw_of(count: int, index: object, error: object) -> str | None:
    if not (is_int(index) and 0 <= index < count):
        return f"{shown(index)} is no index of a batch of {count} items"
    if not isinstance(error, BaseException):
        return f"{shown(error)}, of index {index}, is no exception"
    return None
