"""Admission: room, claims, bursts, credit and deadlock."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flushq.core.admission import Admission
from flushq.core.batch import Batch
from flushq.core.batcher import Batcher
from flushq.core.displacing import DropOldest
from flushq.core.need import ONE_PLACE, Need
from flushq.errors import QueueFull
from flushq.policies import NaturalPolicy
from flushq.policy import Flush
from tests.core.support import Caller


class Entrance:
    """The entrance of a queue that has started.

    Attributes:
        batcher: The batcher behind the entrance; an item is its own key.
        admission: The object under test.
        closed: How many times a burst was closed.
    """

    def __init__(self, size: int, burst: float = math.inf, slots: int = 1) -> None:
        self.batcher: Batcher[int] = Batcher(
            NaturalPolicy(1), lambda item: item, max_in_flight=slots
        )
        self.batcher.start()
        self.admission = Admission(self.batcher, size, "users: ", burst)
        self.admission.on_burst_closed = self._count
        self.closed = 0

    def _count(self) -> None:
        self.closed += 1

    def accept(self, *items: int) -> None:
        """Add items, whether or not there is room."""
        for item in items:
            self.batcher.buffer.append(item)

    def join(self, inside: Batch[int] | None = None) -> Caller:
        """Put a producer in line, perhaps from inside a flush."""
        producer = Caller()
        self.admission.waitlist.join(producer, inside)
        return producer

    def take(self) -> Batch[int]:
        """Start a flush of the oldest item."""
        batch = self.batcher.start_flush(Flush(), 0)
        assert batch is not None
        return batch

    def need(self, item: int) -> Need:
        """Return the room that an item needs."""
        return self.admission.need_of(item, item, 0)

    @property
    def newcomers(self) -> tuple[int, bool]:
        """The number of places for new producers, and whether a new producer may add an item."""
        return self.admission.room_for_newcomers, self.admission.may_enter(ONE_PLACE)

    @property
    def oldest_flush(self) -> Batch[int]:
        """The flush that was started first."""
        return next(iter(self.batcher.running))

    def credit(self) -> int:
        """Return how many items may come without a check after the next one."""
        return len(list(self.admission.grant_credit()[0]))


# Room and claims.


def test_room_is_for_items_that_wait_and_producers_that_pause() -> None:
    """Items in flight need no room; a pausing producer keeps room until its pause ends."""
    entrance = Entrance(5)
    entrance.accept(1, 2)
    entrance.batcher.announce(0)
    entrance.take()
    assert 4 == entrance.admission.room
    entrance.admission.claim_room(entrance.need(3))
    assert 3 == entrance.admission.room
    entrance.admission.end_claim(entrance.need(3))
    assert 4 == entrance.admission.room


def test_a_duplicate_claims_no_room() -> None:
    """A duplicate neither waits in line, nor keeps room in a pause, nor is refused."""
    entrance = Entrance(1)
    entrance.accept(1)
    admission, need = entrance.admission, entrance.need(1)
    assert [False, True] == list(map(admission.must_join_line, (need, entrance.need(2))))
    admission.claim_room(need)
    assert 0 == admission.room
    admission.end_claim(need)
    assert 0 == admission.room
    admission.check_room(need)


@pytest.mark.parametrize("admitted", [False, True])
def test_a_producer_waits_behind_those_who_came_before(*, admitted: bool) -> None:
    """A producer that can wait waits behind others; one that cannot needs room besides theirs."""
    entrance = Entrance(3)
    admission = entrance.admission
    entrance.join()
    if admitted:
        admission.admit(lambda: 0)
    assert admission.must_join_line(ONE_PLACE)
    entrance.accept(1)
    admission.check_room(ONE_PLACE)
    entrance.accept(2)
    message = r"^users: no room: 2 items wait \(max_queue_size=3\); .* come before this item: 1$"
    with pytest.raises(QueueFull, match=message):
        admission.check_room(ONE_PLACE)


def test_newcomers_have_room_beside_those_who_were_given_some() -> None:
    """New producers have no room while a line waits, and the rest once the line was given room."""
    entrance = Entrance(3)
    entrance.join()
    before = entrance.newcomers
    entrance.admission.admit(lambda: 0)
    assert ((0, False), (2, True)) == (before, entrance.newcomers)


def test_nothing_is_displaced_where_nothing_waits() -> None:
    """Items that a finalizer brings while the queue stops displace nothing and are counted."""
    batcher: Batcher[int] = Batcher(NaturalPolicy(), None, abs, max_queue_weight=9)
    admission = DropOldest(batcher, 9)
    admission.add(8, None, 8)
    batcher.announce(0)
    batcher.stop("its time is over")
    admission.add_late(7, None, 7)
    assert (2, 0, [7]) == (batcher.accepted, batcher.displaced, [*batcher.buffer.items])
    batcher.stop("it has stopped")
    assert [8, 7] == batcher.losses.undelivered.items


def test_only_items_make_pressure_and_only_for_a_line() -> None:
    """Only a full queue with a line is under pressure; claims and given room do not count."""
    entrance, seen = Entrance(1), list[bool]()
    entrance.admission.claim_room(ONE_PLACE)
    entrance.join()
    seen.append(entrance.admission.is_pressed)
    entrance.accept(1)
    seen.append(entrance.admission.is_pressed)
    entrance.admission.waitlist.reject(lambda _: QueueFull())
    seen.append(entrance.admission.is_pressed)
    assert [False, True, False] == seen


# Bursts.


def test_a_producer_pauses_after_a_burst() -> None:
    """A producer must pause after a burst; delivered items and a new burst allow more items."""
    entrance = Entrance(9, burst=2)
    paused = []
    for item in range(2):
        paused.append(entrance.admission.must_give_way)
        entrance.accept(item)
    paused.append(entrance.admission.must_give_way)
    entrance.admission.prolong_burst()
    paused.append(entrance.admission.must_give_way)
    entrance.accept(2)
    paused.append(entrance.admission.must_give_way)
    entrance.admission.open_burst(0)
    entrance.admission.tell_burst()
    entrance.accept(3)
    paused.append(entrance.admission.must_give_way)
    entrance.accept(4)
    paused.append(entrance.admission.must_give_way)
    assert [False, False, True, False, True, False, True] == paused


def test_the_first_producer_of_a_queue_that_has_not_started_pauses() -> None:
    """Before the start the first producer pauses, so that a task of run() can begin."""
    batcher: Batcher[int] = Batcher(NaturalPolicy())
    admission = Admission(batcher, 9)
    assert admission.must_give_way
    batcher.buffer.append(1)
    assert not admission.must_give_way


def test_arrivals_are_told_with_the_time_of_the_first() -> None:
    """Closing a burst tells its items once; without an open burst nothing happens."""
    entrance = Entrance(9)
    entrance.admission.tell_burst()
    entrance.admission.open_burst(5)
    entrance.accept(1, 2)
    assert (0, 2) == (entrance.closed, entrance.batcher.burst_size)
    entrance.admission.tell_burst()
    assert (1, 0) == (entrance.closed, entrance.batcher.burst_size)
    facts = entrance.batcher.policy.copy.queue
    assert (5, 2) == (facts.oldest, facts.pending)


def test_a_burst_stays_open_for_producers_that_have_room() -> None:
    """The burst stays open for producers that were given room, so their items have its time."""
    entrance = Entrance(2)
    admission = entrance.admission
    admission.admit(lambda: 1)
    opened = [admission.opened]
    first, last = entrance.join(), entrance.join()
    admission.admit(lambda: 2)
    admission.tell_burst()
    opened.append(admission.opened)
    admission.waitlist.leave(first)
    later = entrance.join()
    admission.admit(lambda: 3)
    opened.append(admission.opened)
    admission.waitlist.leave(last)
    admission.waitlist.leave(later)
    assert 0 == entrance.closed
    admission.tell_burst()
    assert ([None, 2, 2, None], 1) == ([*opened, admission.opened], entrance.closed)


# Credit.


@given(
    size=st.integers(1, 9),
    burst=st.integers(1, 9),
    told=st.integers(0, 4),
    fresh=st.integers(0, 4),
    pauses=st.integers(0, 2),
)
def test_credit_is_what_room_and_burst_allow(
    size: int, burst: int, told: int, fresh: int, pauses: int
) -> None:
    """The credit after an item is the rest of the room or of the burst, whichever is smaller."""
    entrance = Entrance(size, burst)
    entrance.accept(*range(told))
    entrance.batcher.announce(0)
    entrance.accept(*range(told, told + fresh))
    for _ in range(pauses):
        entrance.admission.claim_room(ONE_PLACE)
    expected = min(size - told - fresh - pauses, burst - fresh) - 1
    assert max(expected, 0) == entrance.credit()


@given(size=st.integers(1, 9), burst=st.integers(1, 4), fresh=st.integers(0, 9))
def test_an_overdraft_is_what_room_allows_beyond_the_burst(
    size: int, burst: int, fresh: int
) -> None:
    """When the burst is used up, callers that cannot pause may add another burst."""
    entrance = Entrance(size, burst)
    entrance.accept(*range(min(fresh, size)))
    credit, overdraft = entrance.admission.grant_credit()
    expected = min(size - fresh, burst) - 1 if fresh >= burst else 0
    assert max(expected, 0) == len(list(overdraft))
    assert fresh < burst or [] == list(credit)


def test_there_is_no_credit_while_anybody_is_in_line() -> None:
    """There is no credit while a producer waits, or has room and has not resumed."""
    entrance = Entrance(9, burst=5)
    producer = entrance.join()
    assert 0 == entrance.credit()
    entrance.admission.admit(lambda: 0)
    assert 0 == entrance.credit()
    entrance.admission.waitlist.leave(producer)
    assert 4 == entrance.credit()


def test_credit_that_is_revoked_is_gone_in_the_middle() -> None:
    """A pause keeps room, so it revokes the rest of the credit."""
    entrance = Entrance(9, burst=5)
    credit, _ = entrance.admission.grant_credit()
    next(credit)
    entrance.admission.claim_room(ONE_PLACE)
    assert [] == list(credit)


def test_credit_that_is_granted_anew_revokes_what_was() -> None:
    """A new credit revokes the old one, since both together would exceed the room."""
    entrance = Entrance(9, burst=5)
    credit, _ = entrance.admission.grant_credit()
    entrance.credit()
    assert [] == list(credit)


# Deadlock.


CHANGES: dict[str, Callable[[Entrance], object]] = {
    "nothing": lambda entrance: None,
    "a flush is over": lambda entrance: entrance.oldest_flush.returned(),
    "a slot is free": lambda entrance: entrance.batcher.end_flush(entrance.oldest_flush, 0),
    "a flush no longer waits": lambda entrance: entrance.admission.waitlist.leave(
        next(iter(entrance.admission.waitlist.line))
    ),
    "a producer has room": lambda entrance: setattr(entrance.admission.waitlist, "reserved", 1),
    "a producer pauses": lambda entrance: entrance.admission.claim_room(ONE_PLACE),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_last_producer_that_can_never_have_room_is_rejected(change: str) -> None:
    """If all slots have flushes that wait for room, the last waiting flush is rejected."""
    entrance = Entrance(2, slots=2)
    entrance.accept(1, 2, 3, 4)
    entrance.batcher.announce(0)
    flushes = [entrance.take(), entrance.take()]
    producers = [*map(entrance.join, flushes), entrance.join()]
    CHANGES[change](entrance)
    entrance.admission.break_deadlock(lambda: "the queue")
    rejected = [producer for producer in producers if producer.answer is not None]
    assert ([producers[1]] if change == "nothing" else []) == rejected
    if rejected:
        message = "deadlock: every flush that could make room waits for room: the queue"
        assert (QueueFull, message) == (type(rejected[0].answer), str(rejected[0].answer))
