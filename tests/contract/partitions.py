"""Helpers of the tests of partitions: the first letter of an item is its partition."""

from collections.abc import Awaitable, Callable, Hashable
from typing import Any

from flushq import Decision, FlushPolicy, FlushQueue, NaturalPolicy
from tests.contract.hostile import Second

FlushFn = Callable[[list[str]], Awaitable[object]]


def letter_of(item: str) -> str:
    """Return the first letter of an item."""
    return item[0]


def by_letter(sink: FlushFn, policy: FlushPolicy, **options: Any) -> FlushQueue[str]:
    """Make a queue with a partition for each letter."""
    return FlushQueue(sink, policy, partition_key=letter_of, **options)


def letters(batches: list[list[str]]) -> str:
    """Return the partition of each batch, as one string."""
    return "".join(batch[0][0] for batch in batches)


class Unequal:
    """A key that can be hashed but not compared."""

    def __hash__(self) -> int:
        """Return the same hash for all keys."""
        return 1

    def __eq__(self, other: object) -> bool:
        """Raise ZeroDivisionError."""
        raise ZeroDivisionError("cannot compare")


def told(item: Any) -> Hashable:
    """Return the item, or the result of calling it if it is callable."""
    key: Hashable = item() if callable(item) else item
    return key


class Shared(list[Any]):
    """A list that all copies of a policy write into."""

    def __deepcopy__(self, memo: object) -> "Shared":
        """Return the same list."""
        return self


class Watched(Second):
    """A policy whose copies note their events.

    Attributes:
        told: The name and the time of each event, of all copies.
        asked: The facts pending, oldest and in_flight at each call of ``decide``.
    """

    def __init__(self) -> None:
        self.told = Shared()
        self.asked = Shared()

    def decide(self, now: float) -> Decision:
        """Note the facts, and decide."""
        facts = self.queue
        self.asked.append((facts.pending, facts.oldest, facts.in_flight))
        return super().decide(now)


class Costly(NaturalPolicy):
    """A policy that can be copied a limited number of times."""

    error: BaseException = OSError("no memory")

    def __init__(self, copies: int) -> None:
        super().__init__(1)
        self.left = Shared([None] * copies)

    def __deepcopy__(self, memo: object) -> "Costly":
        """Use up one copy, or raise if none is left."""
        if not self.left:
            raise self.error
        self.left.pop()
        clone = type(self)(0)
        clone.left = self.left
        return clone
