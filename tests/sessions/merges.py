"""How items with the same key become one item; sometimes the merge is faulty."""

import operator
from collections.abc import Callable

import attrs

from tests.sessions.facts import Item

WEIGHTS: dict[str, Callable[[float, float], float]] = {
    "sum": operator.add,
    "difference": lambda waiting, new: abs(waiting - new),
    "most": max,
}
"""The weight of a merged item, computed from the weights of both items."""


class MergeError(Exception):
    """The exception that a faulty merge raises."""


MISTAKES = MergeError, ValueError
"""The exceptions of a producer whose item cannot be merged: ItemTooLarge is a ValueError."""


@attrs.frozen
class Merge:
    """A merge that returns the last item, or an item whose ``parts`` name all items in order.

    Attributes:
        kind: "last", or the key of ``WEIGHTS`` for the weight of the merged item.
        is_faulty: Whether the merge raises, or changes the key, for some numbers of items.
    """

    kind: str
    is_faulty: bool = False

    def __call__(self, waiting: Item, new: Item) -> Item:
        """Return the merged item, an equal one each time for the same two items."""
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
