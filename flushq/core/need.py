"""The room that an item needs in a queue.

A queue has ``max_queue_size`` places for waiting items. The total weight of these items may be at
most ``max_queue_weight``.
"""

from typing import NamedTuple


class Need(NamedTuple):
    """The room that an item needs, or the room that was given to the producer of an item.

    Attributes:
        places: How many places: 1 for an item that will wait, 0 for a duplicate.
        weight: The weight that the item would add to the total weight of the waiting items.
    """

    places: int
    weight: float

    def is_met_by(self, given: "Need") -> bool:
        """Return whether ``given`` has at least as many places and as much weight as this need."""
        return self.places <= given.places and self.weight <= given.weight


NOTHING = Need(0, 0)
ONE_PLACE = Need(1, 0)
