"""The calls of a queue in the model, and their outcomes."""

from asyncio import CancelledError

import attrs

from tests.core_sessions.flights import Cause, Entry, Flight
from tests.sessions.facts import Item

Outcome = tuple[Cause, ...]
"""The outcome of a call: the item that stays, or the class of an exception and its facts."""

CANCELLED: Outcome = (CancelledError, None)
ACCEPTED: Outcome = ("returned", None)


@attrs.frozen
class Need:
    """The room that an item needs: places among the waiting items, and a weight."""

    places: int = 0
    weight: float = 0.0

    def is_within(self, given: "Need") -> bool:
        """Return whether the room that was given is enough."""
        return self.places <= given.places and self.weight <= given.weight


NOTHING = Need()


@attrs.define(eq=False)
class Call:
    """A call of the queue by a producer, an owner or another caller.

    Attributes:
        kind: The name of the method that is called.
        item: The item that the caller brings.
        inside: The flight that the caller is a part of.
        state: What the caller waits for: "line", "room", "pause", "receipt", "barrier", "end"; or
            "done".
        ready: Whether the caller can resume.
        cancelled: Whether the caller was cancelled and has not resumed since.
        answer: The outcome with which the caller was woken, or with which the call has ended.
        entry: The item that stays.
        mark: How many items the caller waits for at a barrier.
        claim: The room that the caller waits for in line, was given, or keeps while it pauses.
        aborts: Whether the caller was cancelled while it waited for the end.
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
        """Whether the caller is an owner of the queue."""
        return self.kind in {"run", "leave"}

    def end(self, answer: Outcome) -> None:
        """End the call with this outcome."""
        self.state, self.answer, self.ready = "done", answer, False
