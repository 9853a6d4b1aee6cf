"""The room that an item needs in the queue: a place, and room for its weight."""

from typing import NamedTuple


class Need(NamedTuple):
    """The room that an item needs.

    Attributes:
        places: The number of places: 1 for an item that will wait, 0 for a duplicate.
        weight: The weight that the item would add to the items that wait.
    """

    places: int
    weight: float

    def is_met_by(self, given: "Need") -> bool:
        """Return whether the room ``given`` is enough for this need."""
        return self.places <= given.places and self.weight <= given.weight


NOTHING = Need(0, 0)
ONE_PLACE = Need(1, 0)
