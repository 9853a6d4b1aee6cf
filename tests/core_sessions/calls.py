"""The calls of a queue, as the model has them, and how they end."""

from asyncio import CancelledError

import attrs

from tests.core_sessions.flights import Cause, Entry, Flight
from tests.sessions.facts import Item

Outcome = tuple[Cause, ...]
"""How a call has ended: with the item that stays, or the kind of an exception and its facts."""

CANCELLED: Outcome = (CancelledError, None)
ACCEPTED: Outcome = ("returned", None)


@attrs.frozen
class Need:
    """What room an item needs: places among those that wait, and a weight."""

    places: int = 0
    weight: float = 0.0

    def is_within(self, given: "Need") -> bool:
        """Whether so much is enough."""
        return self.places <= given.places and self.weight <= given.weight


NOTHING = Need()


@attrs.define(eq=False)
class Call:
    """Somebody who is in a call of the queue.

    Attributes:
        kind: Which call.
        item: The item that is brought.
        inside: The flight that it is a part of.
        state: What it waits for: "line", "room", "pause", "receipt", "barrier", "end"; or "done".
        ready: Whether it can go on.
        cancelled: Whether it was cancelled, and does not know it yet.
        answer: With what it was woken, or how it has ended.
        entry: The item that stays.
        mark: How many items a barrier waits for.
        claim: The room that it stands in line for, was given, or keeps while it pauses.
        aborts: Whether it was cancelled while it waited for the end.
    """

    kind: str
    item: Item | None = None
    inside: Flight | None = None
    state: str = "new"
    ready: bool = False
    cancelled: bool = False
    answer: Outcome | None = None
    entry: Entry | None = None
    mark: int = 0
    claim: Need = NOTHING
    aborts: bool = False

    @property
    def is_owner(self) -> bool:
        """Whether it runs the queue."""
        return self.kind in {"run", "leave"}

    def end(self, answer: Outcome) -> None:
        """The call ends so."""
        self.state, self.answer, self.ready = "done", answer, False
