"""What room an item needs: a place among those that wait, and what it weighs."""

from typing import NamedTuple


class Need(NamedTuple):
    """A need of room.

    Attributes:
        places: How many places: one for an item that is to wait, none for one that is merged.
        weight: How much more all that waits would weigh.
    """

    places: int
    weight: float

    def is_met_by(self, given: "Need") -> bool:
        """Whether what was given is enough."""
        return self.places <= given.places and self.weight <= given.weight


NOTHING = Need(0, 0)
ONE_PLACE = Need(1, 0)
