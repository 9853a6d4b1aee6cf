"""The room of a queue in the model, and how much room an item needs.

An item needs one place, and its weight. A duplicate needs nothing; if items are merged, it needs
the weight that the merge adds to the waiting item.
"""

import math

import attrs

from flushq import ItemTooLarge
from tests.core_sessions.calls import NOTHING, Call, Need, Outcome
from tests.core_sessions.flights import Entry
from tests.sessions.facts import Item, Limits
from tests.sessions.merges import MISTAKES


@attrs.define(eq=False, kw_only=True)
class Room:
    """The waiting items, and the producers that need room.

    Attributes:
        limits: The limits of the queue.
        waiting: The items that wait, the oldest first.
        line, reserved: The calls that wait for room, and those that were given room.
        pauses: The calls that claim room while they let other tasks run.
        overflowed: Whether an item was displaced since the last batch was taken.
    """

    limits: Limits
    waiting: list[Entry] = attrs.field(factory=list)
    line: list[Call] = attrs.field(factory=list)
    reserved: list[Call] = attrs.field(factory=list)
    pauses: list[Call] = attrs.field(factory=list)
    overflowed: bool = False

    @property
    def room(self) -> int:
        """The number of free places, less those that pausing producers claim."""
        claimed = sum(call.claim.places for call in self.pauses)
        return self.limits.max_queue_size - len(self.waiting) - claimed

    @property
    def weight(self) -> float:
        """The weight of the waiting items."""
        return sum(entry.item.weight for entry in self.waiting)

    @property
    def waits_when_full(self) -> bool:
        """Whether producers wait for room."""
        return self.limits.when_full == "wait"

    @property
    def is_pressed(self) -> bool:
        """Whether the queue must flush even if its policy would wait."""
        is_full = len(self.waiting) >= self.limits.max_queue_size
        if self.waits_when_full:
            return bool(self.line) and (is_full or not self._bears(self.line[0].claim.weight))
        most = self.limits.max_queue_weight
        return is_full or self.overflowed or (most is not None and self.weight >= most)

    def fits(self, need: Need, line: int = 0) -> bool:
        """Return whether there is room, less what others were given or claim, and less the line."""
        has_place = not need.places or need.places <= self.room - len(self.reserved) - line
        return has_place and self._bears(need.weight, *self.reserved, *self.pauses)

    def may_pass(self, need: Need) -> bool:
        """Return whether a producer that cannot wait may add its item."""
        is_blocked = self.line and self.limits.max_queue_weight is not None
        return need == NOTHING or (not is_blocked and self.fits(need, len(self.line)))

    def must_wait(self, need: Need) -> bool:
        """Return whether a producer must wait: it must not pass producers that came before."""
        if need == NOTHING or not self.waits_when_full:
            return False
        return bool(self.line or self.reserved) or not self.fits(need)

    def _bears(self, weight: float, *others: Call) -> bool:
        """Return whether this weight may be added to the waiting items and the claims of others."""
        most = self.limits.max_queue_weight
        claimed = sum(call.claim.weight for call in others)
        return most is None or not weight or self.weight + claimed + weight <= most

    # What an item needs.

    def twin(self, item: Item) -> Entry | None:
        """Return the waiting item with the same key."""
        if not self.limits.dedupe:
            return None
        same = (each for each in self.waiting if each.item.name == item.name)
        return next(same, None)

    def need_of(self, item: Item) -> Need:
        """Return the room that an item needs; a merge needs none if weight is not bounded."""
        twin = self.twin(item)
        if twin is None:
            return Need(1, item.weight)
        if self.limits.merge is None or self.limits.max_queue_weight is None:
            return NOTHING
        return Need(0, max(0.0, self.merged(twin.item, item).weight - twin.item.weight))

    def merged(self, waiting: Item, new: Item) -> Item:
        """Return the item that replaces the waiting one.

        Raises:
            MergeError, ValueError, ItemTooLarge: The items cannot be merged; nothing changes.
        """
        assert self.limits.merge is not None
        merged = self.limits.merge(waiting, new)
        if merged.weight > self._heaviest:
            raise ItemTooLarge
        if merged.name != waiting.name:
            raise ValueError("another key")
        return merged

    def mistake(self, item: Item) -> Outcome | None:
        """Return the outcome of a call whose item cannot be merged; None if it can be."""
        twin = self.twin(item)
        if twin is None or self.limits.merge is None:
            return None
        try:
            self.merged(twin.item, item)
        except MISTAKES as error:
            return type(error), None
        return None

    def mistake_ahead(self, item: Item) -> Outcome | None:
        """Return this outcome if it is known before the item has room: weight must be bounded."""
        return None if self.limits.max_queue_weight is None else self.mistake(item)

    def weight_refusal(self, item: Item) -> Outcome | None:
        """Return the outcome of a call whose item is heavier than any batch or the queue may be."""
        return (ItemTooLarge, None) if item.weight > self._heaviest else None

    @property
    def _heaviest(self) -> float:
        limits = self.limits.max_weight, self.limits.max_queue_weight
        return min((limit for limit in limits if limit is not None), default=math.inf)
