"""The line of producers that wait for room: order, reservations, cancellation.

Each waiting producer holds a place, a future. Room is given out from the front of the line, and a
place that was given room keeps it reserved until its producer runs, in one of the next loop
iterations: nobody else can take it meanwhile. The reservation ends in the very step in which the
producer goes on, so that it either takes the room at once or the room is free again. A producer
that is cancelled, or whose coroutine is closed, gives back its place or its reservation likewise.
To come, to leave and to be let in cost the same however long the line is; to send producers away
costs a step for each that waits.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Container
from typing import Generic, TypeVar

Owner = TypeVar("Owner")

Place = asyncio.Future[BaseException | None]


class Gate(Generic[Owner]):
    """The line.

    Attributes:
        reserved: Producers that were given room and have not run yet.
        line: The producers that wait and were not given room yet, with their owners.
        waiting: For each owner, how many producers wait in the line.
    """

    def __init__(self) -> None:
        self.reserved = 0
        self.waiting: Counter[Owner] = Counter()
        self.line: OrderedDict[Place, Owner] = OrderedDict()

    def __len__(self) -> int:
        """How many producers wait and were not given room yet."""
        return len(self.line)

    @property
    def busy(self) -> bool:
        """Whether whoever comes now has somebody before it."""
        return self.reserved > 0 or len(self.line) > 0

    async def wait(self, owner: Owner) -> None:
        """Wait at the end of the line until there is room, which the caller takes at once.

        Raises:
            Exception: What :meth:`turn_away` gave to this producer.
            CancelledError: The place in the line, or the room, is given back.
        """
        place: Place = asyncio.get_running_loop().create_future()
        self.line[place] = owner
        self.waiting[owner] += 1
        try:
            refusal = await place
        finally:
            self._leave(place)
        if refusal is not None:
            raise refusal

    def admit(self, room: int) -> bool:
        """Give ``room`` (places free in the queue) to the first in line, and say if any came."""
        admitted = False
        while self.line and self.reserved < room:
            place = next(iter(self.line))
            if self._call(place, None):
                self.reserved += 1
                admitted = True
        return admitted

    def turn_away(self, refuse: Callable[[Owner], BaseException | None]) -> None:
        """Send away, with an exception of its own, each producer that ``refuse`` names one for."""
        for place, owner in list(self.line.items()):
            refusal = refuse(owner)
            if refusal is not None:
                self._call(place, refusal)

    def turn_away_last(self, owners: Container[Owner], refusal: BaseException) -> None:
        """Send away the last producer in the line that waits for one of ``owners``."""
        for place, owner in reversed(self.line.items()):
            if owner in owners:
                self._call(place, refusal)
                return

    def _call(self, place: Place, answer: BaseException | None) -> bool:
        """Take a producer out of the line and wake it, unless it has been cancelled meanwhile."""
        self._remove(place)
        if place.done():
            return False
        place.set_result(answer)
        return True

    def _remove(self, place: Place) -> None:
        owner = self.line.pop(place)
        self.waiting[owner] -= 1
        if not self.waiting[owner]:
            del self.waiting[owner]

    def _leave(self, place: Place) -> None:
        if place in self.line:
            self._remove(place)
        elif not place.cancelled() and place.result() is None:
            self.reserved -= 1
