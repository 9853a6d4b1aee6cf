"""How items with the same key become one, now and then with a mistake."""

import operator
from collections.abc import Callable

import attrs

from tests.sessions.facts import Item

WEIGHTS: dict[str, Callable[[float, float], float]] = {
    "sum": operator.add,
    "difference": lambda waiting, new: abs(waiting - new),
    "most": max,
}
"""What a fold weighs, of the weights of both."""


class MergeError(Exception):
    """What a merge raises when it is told to."""


MISTAKES = MergeError, ValueError
"""What a producer gets whose item cannot be merged: ItemTooLarge is a ValueError."""


@attrs.frozen
class Merge:
    """A merge: the last item wins, or a fold names all items, in their order.

    Attributes:
        kind: "last", or what a fold weighs.
        is_faulty: Whether it raises, or changes the key, for some numbers.
    """

    kind: str
    is_faulty: bool = False

    def __call__(self, waiting: Item, new: Item) -> Item:
        """What waits from now on: the same for the same two items."""
        mistake = new.number % 6 if self.is_faulty else None
        if mistake == 0:
            raise MergeError(f"{waiting} and {new}")
        if self.kind == "last":
            merged = new
        else:
            parts = waiting.parts or (waiting.number,), new.parts or (new.number,)
            weight = WEIGHTS[self.kind](waiting.weight, new.weight)
            merged = attrs.evolve(waiting, weight=weight, parts=sum(parts, ()))
        return attrs.evolve(merged, key=-1, weight=0.0) if mistake == 1 else merged
