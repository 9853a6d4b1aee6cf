"""The line of producers that wait for room: order, reservations, cancellation.

Each producer brings a waiter, and needs room for one item, which may have a weight. Room is given
from the front of the line, so a light item does not overtake a heavy one, and a producer that was
given room keeps it reserved until it runs, which may be later: nobody else can take it meanwhile.
:meth:`WaitList.leave` is called in the very step in which the producer goes on, so that it either
takes the room at once or the room is free again. A producer that was cancelled gives back its place
or its reservation by the same call. To join, to leave and to be admitted cost the same however long
the line is; to reject producers costs a step for each that waits.

Each producer has a *turn*, a number that tells when it came. One that was given room and needs more
stands in line again by its turn: at the front, behind those alone that came before it.
"""

from collections import OrderedDict
from collections.abc import Callable, Container
from itertools import count, takewhile
from typing import Generic, TypeVar

from flushq.core.waiter import Waiter, wake

Owner = TypeVar("Owner")


class WaitList(Generic[Owner]):
    """The line.

    Attributes:
        reserved: How many producers were given room and have not run yet.
        reserved_weight: What their items weigh.
        line: The producers that wait and were not given room yet; the owner of each, what its item
            weighs, and its turn.
        by_owner: For each owner, how many producers wait in the line.
        turns: The next is that of a producer that comes now.
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
        """How many producers wait and were not given room yet."""
        return len(self.line)

    @property
    def claims(self) -> int:
        """How many producers come before one that comes now."""
        return self.reserved + len(self.line)

    def join(
        self, waiter: Waiter, owner: Owner, weight: float = 0, turn: int | None = None
    ) -> None:
        """Put a producer in line by its turn; None: it comes now.

        Its waiter gets None for room, or an exception to raise.
        """
        turn = next(self.turns) if turn is None else turn
        waiting = self.by_owner.get(owner, 0) + 1
        self.line[waiter] = owner, weight, turn  # no call between the two, so no interrupt comes
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
        """The producer goes on: it takes its room at once, or gives back what it was given.

        To leave again, or without having joined, changes nothing.
        """
        if waiter in self.line:
            self._remove(waiter)
        else:
            weight = self._given.pop(waiter, 0)
            self.reserved = len(self._given)
            self.reserved_weight = self.reserved_weight - weight if self._given else 0

    @property
    def first_weight(self) -> float:
        """What the item weighs of the first in line."""
        return next(iter(self.line.values()))[1]

    def admit(self, room: float, bears: Callable[[float], bool] | None = None) -> bool:
        """Give ``room`` (places free in the queue) to the first in line; return if any came.

        ``bears`` tells whether an item of such a weight fits, too. None: every item does.
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
        """Reject each producer for whose owner there is a refusal: a new exception for each."""
        for waiter, (owner, *_) in list(self.line.items()):
            refusal = refusal_of(owner)
            if refusal is not None:
                self._answer(waiter, refusal)

    def reject_last(self, owners: Container[Owner], refusal: BaseException) -> None:
        """Reject the last producer in the line that waits for one of ``owners``."""
        for waiter, (owner, *_) in reversed(self.line.items()):
            if owner in owners:
                self._answer(waiter, refusal)
                return

    def _answer(self, waiter: Waiter, answer: BaseException | None) -> bool:
        """Take a producer out of the line and wake it, unless it has been cancelled meanwhile."""
        self._remove(waiter)
        return wake(waiter, answer)

    def _remove(self, waiter: Waiter) -> None:
        owner, *_ = self.line[waiter]
        del self.line[waiter]  # no call from here on, so no interrupt comes between
        self.by_owner[owner] -= 1
        if not self.by_owner[owner]:
            del self.by_owner[owner]
