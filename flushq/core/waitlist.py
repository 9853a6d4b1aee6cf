"""The line of producers that wait for room: order, reservations, cancellation.

Each producer has a waiter, and needs room for one item, which may have a weight. Room is given from
the front of the line, so a light item does not overtake a heavy one. A producer that was given room
runs some time later. Until then its room stays *reserved*: no other producer can take this room.
When the producer runs again, :meth:`WaitList.leave` is called: the producer must take its room in
the same step, or the room is free again. If a producer was cancelled, ``leave`` removes it from the
line, or frees its reserved room. Three steps take constant time, however long the line is: joining
at the end, leaving, and giving room to one producer. Rejecting takes one step for each producer in
the line.

Each producer has a *turn*, a number that increases in the order in which producers come. If a
producer needs more room than it was given, it joins the line again at the place of its turn. This
place is near the front: only producers with lower turns stand before it.

The *owner* of a producer is the batch whose flush the producer is part of, or None. (The owner of a
queue is something else: see flushq.core.ending.)
"""

from collections import OrderedDict
from collections.abc import Callable, Container
from itertools import count, takewhile
from typing import Generic, TypeVar

from flushq.core.waiter import Waiter, wake

Owner = TypeVar("Owner")


class WaitList(Generic[Owner]):
    """The line of producers that wait for room.

    Attributes:
        reserved: How many producers were given room and have not run yet.
        reserved_weight: The total weight of the items of producers that have reserved room.
        line: The producers that were not given room yet. For each producer, this dict maps the
            waiter to a tuple: the owner, the weight of the item, and the turn.
        by_owner: For each owner, how many of its producers are in the line.
        turns: The iterator that gives each new producer its turn: 1, 2, 3, …
    """

    __slots__ = ("_given", "_newest", "by_owner", "line", "reserved", "reserved_weight", "turns")

    def __init__(self) -> None:
        self.reserved = 0
        self.reserved_weight: float = 0
        self._given: dict[Waiter, float] = {}
        self._newest = 0
        self.turns = count(1)
        self.by_owner: dict[Owner, int] = {}
        self.line: OrderedDict[Waiter, tuple[Owner, float, int]] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of producers that wait and were not given room yet."""
        return len(self.line)

    @property
    def claims(self) -> int:
        """How many producers claim room: those with reserved room, and those in the line."""
        return self.reserved + len(self.line)

    def join(
        self, waiter: Waiter, owner: Owner, weight: float = 0, turn: int | None = None
    ) -> None:
        """Add a producer to the line, at the place of its turn, or at the end if ``turn`` is None.

        The waiter is completed with None when the producer is given room, or with an exception that
        the producer must raise.
        """
        turn = next(self.turns) if turn is None else turn
        waiting = self.by_owner.get(owner, 0) + 1
        self.line[waiter] = owner, weight, turn  # calls no function, so no interrupt comes here
        self.by_owner[owner] = waiting
        if turn > self._newest:
            self._newest = turn
        else:
            self._move_up(waiter, turn)

    def _move_up(self, waiter: Waiter, turn: int) -> None:
        ahead = [*takewhile(lambda other: self.line[other][2] < turn, self.line)]
        for each in (waiter, *reversed(ahead)):
            self.line.move_to_end(each, last=False)

    def leave(self, waiter: Waiter) -> None:
        """Remove a producer that waits no longer; the room that was reserved for it is free again.

        If the producer never joined, or has left already, nothing changes.
        """
        if waiter in self.line:
            self._remove(waiter)
        else:
            weight = self._given.pop(waiter, 0)
            self.reserved = len(self._given)
            self.reserved_weight = self.reserved_weight - weight if self._given else 0

    @property
    def first_weight(self) -> float:
        """The weight of the item of the first producer in the line."""
        return next(iter(self.line.values()))[1]

    def admit(self, room: float, bears: Callable[[float], bool] | None = None) -> bool:
        """Give room to the first producers in the line; return whether a producer was given room.

        ``room`` says how many places are free; reserved places count as free. ``bears`` is the
        function that returns whether there is room for a weight. If it is None, weights are not
        limited.
        """
        admitted = False
        while self.line and self.reserved < room:
            weight = self.first_weight
            if bears is not None and not bears(weight):
                break
            waiter = next(iter(self.line))
            if self._answer(waiter, None):
                self._given[waiter] = weight
                self.reserved = len(self._given)
                self.reserved_weight += weight
                admitted = True
        return admitted

    def reject(self, refusal_of: Callable[[Owner], BaseException | None]) -> None:
        """Reject each producer in the line if ``refusal_of`` returns an exception for its owner.

        The producer raises this exception, so ``refusal_of`` must return a new one each time.
        """
        for waiter, (owner, *_) in list(self.line.items()):
            refusal = refusal_of(owner)
            if refusal is not None:
                self._answer(waiter, refusal)

    def reject_last(self, owners: Container[Owner], refusal: BaseException) -> None:
        """Reject the last producer in the line; only producers of these ``owners`` count.

        This producer raises ``refusal``. If there is no such producer, nothing changes.
        """
        for waiter, (owner, *_) in reversed(self.line.items()):
            if owner in owners:
                self._answer(waiter, refusal)
                return

    def _answer(self, waiter: Waiter, answer: BaseException | None) -> bool:
        """Remove a producer from the line and wake it; return False if it was cancelled."""
        self._remove(waiter)
        return wake(waiter, answer)

    def _remove(self, waiter: Waiter) -> None:
        owner, *_ = self.line[waiter]
        del self.line[waiter]  # from here on nothing is called, so no interrupt can come
        self.by_owner[owner] -= 1
        if not self.by_owner[owner]:
            del self.by_owner[owner]
