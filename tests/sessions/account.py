"""Items: accepted, cut, handed over, ended; order, caps, slots.

Accepted items that are no duplicates have positions 0, 1, 2, ... Those below ``cut`` have left the
queue in flights, the others wait. What a batch must hold follows from that, item by item.
"""

import math
from asyncio import CancelledError
from collections import Counter, deque
from collections.abc import Iterable

from tests.sessions.causes import Cause, is_same
from tests.sessions.facts import BETWEEN, DELIVERED, DROPPED, HANDED, Flight, Item, Limits
from tests.sessions.history import History
from tests.sessions.loop import EARLY


class Account:
    """Where every item is, by what was seen from outside.

    Attributes:
        accepted: All items that were accepted, in that order, duplicates included.
        duplicates: Those of them that were duplicates.
        waiting: Those that are in no batch yet, oldest first.
        flights: All batches, in the order in which they were cut.
        running: Those that have not ended.
        flight_of: The flight of each item that was cut.
        cut: How many items have been cut.
        delivered: How many items were delivered, also of flights that go on.
        dropped: How many the failure handler dropped.
        doubtful: How many were lost, of flights that have ended and were handed over.
        unsent: How many were lost, of those that never were.
    """

    def __init__(self, limits: Limits, history: History) -> None:
        self.accepted: list[Item] = []
        self.duplicates: list[Item] = []
        self.waiting: deque[Item] = deque()
        self.flights: list[Flight] = []
        self.running: dict[Flight, None] = {}
        self.flight_of: dict[Item, Flight] = {}
        self.cut = 0
        self.delivered = 0
        self.dropped = 0
        self.doubtful = 0
        self.unsent = 0
        self._limits = limits
        self._history = history
        self._keys: dict[int | None, Item] = {}
        self._arrivals: deque[float] = deque()
        self._untold: deque[tuple[float, float]] = deque()
        self._unheard: dict[Flight, None] = {}
        self._over: dict[Flight, None] = {}

    # Items.

    def is_duplicate(self, item: Item) -> bool:
        """Whether an item with this key waits."""
        return self._limits.dedupe and item.key in self._keys

    def accept(self, item: Item, since: float) -> Item:
        """Take in an item, as old as ``since`` at the most; return the one that stays."""
        self.accepted.append(item)
        if self.is_duplicate(item):
            self.duplicates.append(item)
            return self._keys[item.key]
        self._keys[item.key] = item
        self.waiting.append(item)
        self._untold.append((since, self._history.loop.time()))
        if len(self.waiting) > self._limits.max_queue_size:
            self._history.complain(7, f"{len(self.waiting)} items wait")
        return item

    @property
    def is_full(self) -> bool:
        """Whether there is no room for another item."""
        return len(self.waiting) >= self._limits.max_queue_size

    @property
    def position(self) -> int:
        """The position of the next item that will be accepted."""
        return self.cut + len(self.waiting)

    @property
    def settled(self) -> int:
        """The position below which every item has ended."""
        return next((flight.first_unended for flight in self.running), self.cut)

    @property
    def heard(self) -> int:
        """The position below which the policy knows of every item that it has ended."""
        return next((flight.first for flight in self._unheard), self.cut)

    @property
    def oldest(self) -> float:
        """When the first item that waits has arrived, as the policy was told; inf if none does."""
        return self._arrivals[0] if self._arrivals else math.inf

    @property
    def untold(self) -> int:
        """How many items the policy has not been told of."""
        return len(self._untold)

    # What the policy hears.

    def told_arrivals(self, now: float, count: int) -> None:
        """The policy has been told of arrivals."""
        if count > len(self._untold):
            self._history.complain(6, f"{count} arrivals were told of {len(self._untold)}")
        if self._untold:
            earliest, latest = self._untold[0]
            if not earliest <= now <= latest + 2 * EARLY:
                self._history.complain(6, f"an arrival at {latest:g} was told as one at {now:g}")
        for _ in range(min(count, len(self._untold))):
            self._untold.popleft()
            self._arrivals.append(now)

    def told_start(self, now: float, count: int, reasons: frozenset[str] = frozenset()) -> Flight:
        """The policy has been told of a flush: a batch was cut."""
        if len(self.running) >= self._limits.max_in_flight:
            self._history.complain(5, f"{len(self.running)} batches run when another is cut")
        if not 0 < count <= len(self.waiting):
            self._history.complain(4, f"a batch of {count} items was cut from {len(self.waiting)}")
        oldest = self.oldest
        items = self._take(min(count, len(self.waiting)))
        flight = Flight(len(self.flights), items, self.cut, now, oldest)
        flight.behind, flight.reasons = len(self.waiting), reasons
        self.cut += len(items)
        self.flights.append(flight)
        self.flight_of.update(dict.fromkeys(items, flight))
        self.running[flight] = None
        self._unheard[flight] = None
        self._check_caps(flight)
        return flight

    def _take(self, count: int) -> tuple[Item, ...]:
        items = tuple(self.waiting.popleft() for _ in range(count))
        for item in items:
            self._keys.pop(item.key, None)
        for _ in range(min(count, len(self._arrivals))):
            self._arrivals.popleft()
        return items

    def told_end(
        self, now: float, count: int, seconds: float, error: BaseException | None
    ) -> Flight | None:
        """The policy has been told that a flush ended; return which one."""
        flights = [*self._over, *(flight for flight in self._unheard if not flight.over)]
        ended = [flight for flight in flights if _ended_so(flight, now, count, error)]
        flight = next((flight for flight in ended if seconds == now - flight.cut_at), None)
        if flight is None:
            what = f"of {count} items has ended with {error!r} after {seconds:g} s"
            self._history.complain(2, f"no flight {what}")
            return None
        if flight.state is BETWEEN and not flight.over:
            self.cut_short(flight)
        self.end(flight, error)
        flight.heard = True
        del self._unheard[flight], self._over[flight]
        return flight

    def _check_caps(self, flight: Flight) -> None:
        limits, count = self._limits, len(flight.items)
        if limits.max_records is not None and count > limits.max_records:
            self._history.complain(4, f"{flight} has {count} items: {flight.items}")
        weight = sum(item.weight for item in flight.items)
        if limits.max_weight is not None and weight > limits.max_weight:
            self._history.complain(4, f"{flight} weighs {weight}: {flight.items}")

    def largest_cut(self) -> int:
        """How many items a batch takes that is cut now: as many as the caps allow."""
        limits = self._limits
        most = min(len(self.waiting), limits.max_records or len(self.waiting))
        if limits.max_weight is None:
            return most
        weight = 0.0
        for count in range(most):
            weight += self.waiting[count].weight
            if weight > limits.max_weight:
                return count
        return most

    # What the sink sees.

    def call(self, batch: list[Item]) -> Flight:
        """The sink was called with a batch for the first time."""
        flight = next((each for each in self.running if not each.called), None)
        if flight is None or list(flight.items) != batch:
            self._history.complain(5, f"the sink was called with {batch}, not that of {flight}")
            flight = flight or self.told_start(0.0, 0)
        flight.state = HANDED
        calls = sum(each.called for each in self.running)
        if calls > self._limits.max_in_flight:
            self._history.complain(5, f"{calls} flushes run at a time")
        return flight

    def settle(
        self, flight: Flight, items: Iterable[Item], kind: str, causes: Iterable[Cause] = ()
    ) -> None:
        """Some items of a flight have ended, whether or not the others go on."""
        before = len(flight.fates)
        flight.settle(items, kind, causes)
        ended = len(flight.fates) - before
        self.delivered += ended if kind == DELIVERED else 0
        self.dropped += ended if kind == DROPPED else 0

    @property
    def in_flight(self) -> int:
        """How many items were cut and have not ended."""
        return sum(len(flight.items) - len(flight.fates) for flight in self.running)

    def end(self, flight: Flight, error: Cause) -> None:
        """A flight is over; of the ends that are noted the first counts."""
        if not flight.over:
            flight.over, flight.over_at = True, self._history.loop.time()
            flight.error = error
            if flight.called:
                self.doubtful += len(flight.lost)
            else:
                self.unsent += len(flight.items)
            self.running.pop(flight, None)
            self._over[flight] = None

    def cut_short(self, flight: Flight) -> None:
        """The queue has cancelled a flight between two calls: nobody saw it, nor when."""
        flight.cancelled_in.append(self._history.loop.iteration)
        self.end(flight, CancelledError())
        flight.over_at = flight.cut_at

    # The balance.

    def lost(self, start: int, end: float = math.inf) -> bool:
        """Whether any item from ``start`` on and before ``end`` was lost."""
        return any(
            start <= position < end
            for flight in self.flights
            if flight.first < end and flight.first + len(flight.items) > start
            if flight.over or not flight.called
            for position in _positions(flight, flight.lost)
        )

    def undelivered(self) -> list[Item]:
        """What flush_fn was never called with, once no batch is cut any more."""
        cut = [item for flight in self.flights if not flight.called for item in flight.items]
        return cut + list(self.waiting)

    def in_doubt(self) -> list[Item]:
        """What flush_fn was called with, of flights that have ended, and was lost."""
        doubtful = [flight for flight in self.flights if flight.called and flight.over]
        return [item for flight in doubtful for item in flight.lost]

    def ended(self, kind: str) -> list[Item]:
        """The items that were delivered, or those that were dropped."""
        fates = [fate for flight in self.flights for fate in flight.fates.items()]
        return [item for item, fate in fates if fate.kind == kind]

    def balance(self, undelivered: list[Item], in_doubt: list[Item]) -> None:
        """Compare with the queue's own lists, when it has ended."""
        if undelivered != self.undelivered():
            self._history.complain(2, f"undelivered: {undelivered}, not {self.undelivered()}")
        if in_doubt != self.in_doubt():
            self._history.complain(2, f"in doubt: {in_doubt}, not {self.in_doubt()}")
        places = Counter(self.ended(DELIVERED)) + Counter(self.ended(DROPPED))
        places += Counter(self.duplicates) + Counter(undelivered) + Counter(in_doubt)
        if places != Counter(self.accepted):
            missing, extra = Counter(self.accepted) - places, places - Counter(self.accepted)
            self._history.complain(2, f"vanished: {list(missing)}, appeared: {list(extra)}")


def _positions(flight: Flight, items: list[Item]) -> list[int]:
    return [flight.first + index for index, item in enumerate(flight.items) if item in items]


def _ended_so(flight: Flight, now: float, count: int, error: BaseException | None) -> bool:
    """Whether a flight may be the one that ended so."""
    if len(flight.items) != count:
        return False
    if flight.over:
        return flight.over_at <= now and (not flight.called or is_same(error, flight.error))
    return not flight.called or (flight.state is BETWEEN and isinstance(error, CancelledError))
