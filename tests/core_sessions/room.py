"""The room of a queue, as the model has it, and how much of it an item needs.

An item needs a place and its weight. A duplicate needs nothing; where items are merged, it needs
the weight by which the item that waits becomes heavier.
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
    """What waits, and who comes in.

    Attributes:
        limits: What the queue keeps to.
        waiting: The items that wait, the oldest first.
        line, reserved: Those who wait for room, and those who were given room.
        pauses: Those who claim room while they let others run.
        overflowed: Whether an item was displaced since a batch was taken.
    """

    limits: Limits
    waiting: list[Entry] = attrs.field(factory=list)
    line: list[Call] = attrs.field(factory=list)
    reserved: list[Call] = attrs.field(factory=list)
    pauses: list[Call] = attrs.field(factory=list)
    overflowed: bool = False

    @property
    def room(self) -> int:
        """How many items there is room for, beside those whose producers pause."""
        claimed = sum(call.claim.places for call in self.pauses)
        return self.limits.max_queue_size - len(self.waiting) - claimed

    @property
    def weight(self) -> float:
        """What the items weigh that wait."""
        return sum(entry.item.weight for entry in self.waiting)

    @property
    def waits_when_full(self) -> bool:
        """Whether producers wait for room."""
        return self.limits.when_full == "wait"

    @property
    def is_pressed(self) -> bool:
        """Whether the queue is to flush whatever its policy thinks."""
        is_full = len(self.waiting) >= self.limits.max_queue_size
        if self.waits_when_full:
            return bool(self.line) and (is_full or not self._bears(self.line[0].claim.weight))
        most = self.limits.max_queue_weight
        return is_full or self.overflowed or (most is not None and self.weight >= most)

    def fits(self, need: Need, line: int = 0) -> bool:
        """Whether there is room beside what others were given or claim, and the line."""
        has_place = not need.places or need.places <= self.room - len(self.reserved) - line
        return has_place and self._bears(need.weight, *self.reserved, *self.pauses)

    def may_pass(self, need: Need) -> bool:
        """Whether a producer that cannot wait may come in."""
        is_blocked = self.line and self.limits.max_queue_weight is not None
        return need == NOTHING or (not is_blocked and self.fits(need, len(self.line)))

    def must_wait(self, need: Need) -> bool:
        """Whether a producer that can wait has to: it does not pass those who came before."""
        if need == NOTHING or not self.waits_when_full:
            return False
        return bool(self.line or self.reserved) or not self.fits(need)

    def _bears(self, weight: float, *others: Call) -> bool:
        """Whether what waits may weigh so much more, beside what others claim."""
        most = self.limits.max_queue_weight
        claimed = sum(call.claim.weight for call in others)
        return most is None or not weight or self.weight + claimed + weight <= most

    # What an item needs.

    def twin(self, item: Item) -> Entry | None:
        """The item that waits with the same key."""
        if not self.limits.dedupe:
            return None
        same = (each for each in self.waiting if each.item.name == item.name)
        return next(same, None)

    def need_of(self, item: Item) -> Need:
        """How much room an item needs; a merge needs none where the weight is not bounded."""
        twin = self.twin(item)
        if twin is None:
            return Need(1, item.weight)
        if self.limits.merge is None or self.limits.max_queue_weight is None:
            return NOTHING
        return Need(0, max(0.0, self.merged(twin.item, item).weight - twin.item.weight))

    def merged(self, waiting: Item, new: Item) -> Item:
        """What the item that waits becomes.

        Raises:
            MergeError, ValueError, ItemTooLarge: It cannot be merged, and stays as it is.
        """
        assert self.limits.merge is not None
        merged = self.limits.merge(waiting, new)
        if merged.weight > self._heaviest:
            raise ItemTooLarge
        if merged.name != waiting.name:
            raise ValueError("another key")
        return merged

    def mistake(self, item: Item) -> Outcome | None:
        """Why the item cannot be merged."""
        twin = self.twin(item)
        if twin is None or self.limits.merge is None:
            return None
        try:
            self.merged(twin.item, item)
        except MISTAKES as error:
            return type(error), None
        return None

    def mistake_ahead(self, item: Item) -> Outcome | None:
        """The same, where it is known before the item has room: its need is asked of its merge."""
        return None if self.limits.max_queue_weight is None else self.mistake(item)

    def weight_refusal(self, item: Item) -> Outcome | None:
        """Why an item cannot come in, whatever room there is."""
        return (ItemTooLarge, None) if item.weight > self._heaviest else None

    @property
    def _heaviest(self) -> float:
        limits = self.limits.max_weight, self.limits.max_queue_weight
        return min((limit for limit in limits if limit is not None), default=math.inf)
