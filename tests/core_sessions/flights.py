"""A flush in the model: its calls, pauses and questions, according to the verdicts."""

from asyncio import CancelledError
from collections.abc import Callable, Mapping
from functools import reduce

import attrs

from flushq import Drop, PartialFailure, Retry, Split, Verdict
from tests.core_sessions.partitions import Partition
from tests.core_sessions.starts import Starts
from tests.sessions.facts import Item

Cause = object
"""An exception, or a `Made` that is equal to it."""


@attrs.frozen(eq=False)
class Made:
    """Equal to an exception that the queue itself makes, of this kind and with this cause."""

    kind: type[BaseException]
    cause: Cause

    __hash__ = None  # type: ignore[assignment]  # equal objects would have different hashes

    def __eq__(self, other: object) -> bool:
        made = isinstance(other, BaseException) and type(other) is self.kind
        return made and self.cause is getattr(other, "__cause__", None)


@attrs.define(eq=False)
class Entry:
    """An item that was accepted and is not a duplicate.

    Attributes:
        item: The item, after all merges until now.
        number: How many items came before.
        partition: The partition of the item.
        place: Where the queue counts the item: one of ``PLACES`` of `model`.
        since: The time of its arrival that the policy was told; None if it was not told.
        answer: The outcome for callers that ask about the item, once it has ended.
        merged: The items that were merged into the first one.
    """

    item: Item
    number: int
    partition: Partition
    place: str = "pending"
    since: float | None = None
    answer: tuple[Cause, ...] | None = None
    merged: list[Item] = attrs.field(factory=list)
    _first: Item = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._first = self.item

    def folded(self, merge: Callable[[Item, Item], Item]) -> Item:
        """Return the left fold of all items with its key that came while it waited."""
        return reduce(merge, self.merged, self._first)

    @property
    def is_lost(self) -> bool:
        """Whether the queue counts the item as undelivered or in doubt."""
        return self.place in {"undelivered", "in_doubt"}


@attrs.frozen
class Fate:
    """The end of an item, "delivered", "dropped", "displaced" or "failed", and its cause."""

    kind: str
    cause: Cause = None


DELIVERED = Fate("delivered")

Ended = Mapping[Entry, Fate]


@attrs.define(eq=False)
class _Part:
    entries: list[Entry]
    attempt: int = 1
    pause: float = 0.0
    holds: bool = False


@attrs.define(eq=False)
class Flight:
    """A flush, from the moment at which its batch was taken.

    Attributes:
        entries: The items of the batch.
        partition: The key of its partition.
        reason: The reason for the flush.
        started, oldest: The time at which the batch was taken, and that of its oldest item.
        left: How many items still waited after the batch was taken.
        handles: Whether there is a failure handler.
        note: A function to call with the items that have ended before the flush ends.
        starts: The rules for the start of its calls.
        wants: What the flush waits for, a kind and its facts; None if it has ended.
        calls: How many times ``flush_fn`` was called.
        interrupted: How many times the queue has cancelled the flush.
        refused: Whether it will never call ``flush_fn`` again, because the throttle has failed.
        error: The exception that has ended the flush; None if there is none.
        fates: The ends of its items.
        told: The items whose end the queue was told of.
    """

    entries: list[Entry]
    partition: int | None
    reason: str
    started: float
    oldest: float
    left: int
    handles: bool
    note: Callable[[Ended], None]
    starts: Starts
    wants: tuple[object, ...] | None = ("begin",)
    calls: int = 0
    interrupted: int = 0
    refused: bool = False
    error: Cause = None
    fates: dict[Entry, Fate] = attrs.field(factory=dict)
    told: set[Entry] = attrs.field(factory=set)
    _parts: list[_Part] = attrs.field(factory=list)
    _causes: dict[Entry, Cause] = attrs.field(factory=dict)
    _raised: Cause = None

    @property
    def weight(self) -> float:
        """The weight of its items."""
        return sum(entry.item.weight for entry in self.entries)

    @property
    def first_untold(self) -> int:
        """The number of its first item whose end the queue was not told of."""
        return next(entry.number for entry in self.entries if entry not in self.told)

    def begin(self, *, stopped: bool) -> None:
        """Take the first step."""
        if stopped or self.interrupted:
            self._stop(Made(CancelledError, None))
        else:
            self._parts = [_Part(list(self.entries))]
            self._call()

    @property
    def size(self) -> tuple[int, float]:
        """The number of items of the next call, and their weight."""
        entries = self._parts[-1].entries
        return len(entries), sum(entry.item.weight for entry in entries)

    def returned(self) -> None:
        """Note that ``flush_fn`` has returned."""
        if self._raised is not None:  # else the end of the flush ends this call
            self.starts.call_ended(self, None)
        self._end_part(DELIVERED)
        self._go_on()

    def raised(self, error: BaseException, now: float, *, may_ask: bool) -> None:
        """Note that ``flush_fn`` has raised; ``may_ask`` says whether the handler may be asked."""
        self.starts.call_ended(self, error)
        part, self._raised = self._parts[-1], error
        self._causes = dict.fromkeys(part.entries, error)
        if isinstance(error, PartialFailure):
            if not self._is_sound(error):
                mistake = Made(ValueError, error)
                self._end_part(Fate("failed", mistake))
                self._stop(mistake)
                return
            self._narrow(error)
        if self.interrupted:
            self._stop(error)
        elif self.handles and may_ask:
            self._note()
            seconds = max(0.0, now - self.started)
            items = [entry.item for entry in part.entries]
            is_partial = isinstance(error, PartialFailure)
            errors = list(self._causes.values()) if is_partial else None
            facts = part.attempt, self.reason, seconds, self.partition
            self.wants = "ask", items, error, errors, *facts
        else:
            self._fail()

    def judged(self, verdict: object) -> None:
        """Note that the handler has answered."""
        part = self._parts[-1]
        match verdict:
            case Retry(after, hold):
                part.attempt, part.pause, part.holds = part.attempt + 1, after, hold
            case Split() if len(part.entries) > 1:
                half = (len(part.entries) + 1) // 2
                self._parts[-1:] = _Part(part.entries[half:]), _Part(part.entries[:half])
            case Drop():
                self._end_part("dropped")
            case _ if isinstance(verdict, Verdict):
                self._fail()
                return
            case _:
                self.broke(Made(TypeError, self._raised))
                return
        self._go_on()

    def broke(self, error: Cause) -> None:
        """Note that the handler has raised."""
        if not self.interrupted:
            self._end_part("failed")
        self._stop(error)

    def let_go(self) -> None:
        """Note that the next call may start."""
        self.wants = ("turn",)

    def refuse(self) -> None:
        """Note that no further call may start."""
        self.wants, self.refused = ("turn",), True

    def paused(self) -> None:
        """End the pause: it is over, or was cut short."""
        self.starts.leave(self)
        if self.interrupted or self.refused:
            self._stop(Made(CancelledError, self._raised))
        else:
            self._call()

    def _call(self) -> None:
        self.calls += 1
        self.wants = "call", [entry.item for entry in self._parts[-1].entries]

    def _go_on(self) -> None:
        if not self._parts:
            self._stop(None)
            return
        self._note()
        part = self._parts[-1]
        self.refused = self.starts.failed
        if self.interrupted or self.refused:
            self.paused()
            return
        self.wants = "pause", part.pause
        self.starts.join(self, part.pause, holds=part.holds)

    def _fail(self) -> None:
        self._end_part("failed")
        self._stop(self._raised)

    def _stop(self, error: Cause) -> None:
        self.error, self.wants = error, None

    def _end_part(self, fate: Fate | str) -> None:
        """End the current part: with this fate, or with this kind and the cause of each item."""
        for entry in self._parts.pop().entries:
            cause = self._causes.get(entry)
            self.fates[entry] = Fate(fate, cause) if isinstance(fate, str) else fate

    def _note(self) -> None:
        ended = {entry: fate for entry, fate in self.fates.items() if entry not in self.told}
        if ended:
            self.told.update(ended)
            self.note(ended)

    def _is_sound(self, error: PartialFailure) -> bool:
        """Return whether the error has an exception for one or more items, and no other index."""
        errors: object = error.errors
        count = len(self._parts[-1].entries)
        if not isinstance(errors, dict) or not errors:
            return False
        return all(
            type(index) is int and 0 <= index < count and isinstance(each, BaseException)
            for index, each in errors.items()
        )

    def _narrow(self, error: PartialFailure) -> None:
        """Note the items without an exception as delivered."""
        part = self._parts[-1]
        self._causes = {part.entries[at]: error.errors[at] for at in sorted(error.errors)}
        for entry in part.entries:
            if entry not in self._causes:
                self.fates[entry] = DELIVERED
        part.entries = list(self._causes)
