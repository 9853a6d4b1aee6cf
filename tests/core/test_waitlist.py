"""The line of producers: first come, first served, and no given room is lost."""

from itertools import permutations

import pytest

from flushq.core.waitlist import WaitList
from flushq.errors import QueueClosed, QueueFull
from tests.core.support import Caller


def line_of(owners: str) -> tuple[WaitList[str], list[Caller]]:
    """Return a line of producers, each with a letter as its owner."""
    waitlist: WaitList[str] = WaitList()
    producers = [Caller() for _ in owners]
    for producer, owner in zip(producers, owners, strict=True):
        waitlist.join(producer, owner)
    return waitlist, producers


def admit(waitlist: WaitList[str], room: float) -> bool:
    """Give room to producers as long as their places and weights are within the room."""
    return waitlist.admit(
        room, lambda weight: waitlist.reserved + waitlist.reserved_weight + weight < room
    )


def told(producers: list[Caller]) -> list[str]:
    """Return for each producer "room", "waits", or the text of its rejection."""
    return [str(each.answer or "room") if each.done() else "waits" for each in producers]


def facts(waitlist: WaitList[str]) -> tuple[int, int, int]:
    """Return how many have room, how many wait, and how many come before a new producer."""
    return waitlist.reserved, len(waitlist), waitlist.claims


def test_room_is_given_from_the_front_and_reserved_until_its_producer_goes_on() -> None:
    """Room is given from the front and reserved until the producer resumes."""
    waitlist, producers = line_of("abc")
    assert admit(waitlist, 2)
    assert (["room", "room", "waits"], (2, 1, 3)) == (told(producers), facts(waitlist))
    assert not admit(waitlist, 2)
    waitlist.leave(producers[0])
    assert (1, 1, 2) == facts(waitlist)
    assert admit(waitlist, 2)
    assert (["room"] * 3, (2, 0, 2)) == (told(producers), facts(waitlist))


@pytest.mark.parametrize(("owners", "room"), [("", 5), ("a", 0), ("a", -1)])
def test_nobody_is_admitted_without_a_line_or_room(owners: str, room: int) -> None:
    """``admit`` returns False without a line or without room."""
    waitlist, _ = line_of(owners)
    assert not admit(waitlist, room)
    assert (0, len(owners), len(owners)) == facts(waitlist)


def test_a_cancelled_producer_is_passed_over() -> None:
    """A cancelled producer gets no room, whether or not it has resumed since."""
    waitlist, producers = line_of("abc")
    for producer in producers[:2]:
        producer.cancel()
    waitlist.leave(producers[0])
    assert {"b": 1, "c": 1} == waitlist.by_owner
    assert admit(waitlist, 1)
    assert ("room", (1, 0, 1)) == (told(producers)[2], facts(waitlist))
    waitlist.leave(producers[1])
    assert (1, 0, 1) == facts(waitlist)


def test_nobody_came_if_all_were_cancelled() -> None:
    """``admit`` returns False if all producers were cancelled."""
    waitlist, producers = line_of("ab")
    for producer in producers:
        producer.cancel()
    assert not admit(waitlist, 2)
    assert (0, 0, 0) == facts(waitlist)


@pytest.mark.parametrize("admitted", [False, True])
def test_a_producer_leaves_nothing_behind(*, admitted: bool) -> None:
    """A producer that leaves the line, also a cancelled one, gives its place or room back."""
    waitlist, producers = line_of("a")
    if admitted:
        admit(waitlist, 1)
        producers[0].cancel()
    waitlist.leave(producers[0])
    assert ((0, 0, 0), {}) == (facts(waitlist), waitlist.by_owner)


def test_each_producer_is_rejected_with_an_exception_of_its_own() -> None:
    """Each rejected producer gets its own exception; others keep waiting."""
    waitlist, producers = line_of("aba")
    waitlist.reject(lambda owner: QueueClosed("closed") if owner == "a" else None)
    assert ["closed", "waits", "closed"] == told(producers)
    assert producers[0].answer is not producers[2].answer
    waitlist.leave(producers[0])
    assert ((0, 1, 1), {"b": 1}) == (facts(waitlist), waitlist.by_owner)


def test_the_last_of_some_owners_is_rejected() -> None:
    """``reject_last`` rejects the last waiting producer of these owners, if there is one."""
    waitlist, producers = line_of("abac")
    for owners in ({"a", "b"}, {"d"}):
        waitlist.reject_last(owners, QueueFull("no room"))
        assert ["waits", "waits", "no room", "waits"] == told(producers)


def test_owners_are_counted_while_their_producers_wait() -> None:
    """``by_owner`` counts the waiting producers of each owner."""
    waitlist, _ = line_of("aba")
    counts = [dict(waitlist.by_owner)]
    for room in (2, 3):
        admit(waitlist, room)
        counts.append(dict(waitlist.by_owner))
    assert [{"a": 2, "b": 1}, {"a": 1}, {}] == counts


def test_a_light_item_does_not_overtake_a_heavy_one() -> None:
    """If the first in line does not fit by weight, no later producer gets room."""
    waitlist: WaitList[str] = WaitList()
    producers = [Caller() for _ in range(3)]
    for producer, weight in zip(producers, (0.5, 4, 0), strict=True):
        waitlist.join(producer, "a", weight)
    assert admit(waitlist, 5)
    assert ["room", "waits", "waits"] == told(producers)
    waitlist.leave(producers[0])
    assert 0 == waitlist.reserved_weight
    assert admit(waitlist, 5)
    assert (["room", "room", "waits"], 4) == (told(producers), waitlist.reserved_weight)


@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_producers_that_were_given_too_little_stand_in_line_by_their_turns(
    order: tuple[int, ...],
) -> None:
    """Producers that wait again keep their order, before all that came later."""
    waitlist, producers = WaitList[str](), [Caller() for _ in range(5)]
    turns = [next(waitlist.turns) for _ in range(3)]
    for producer in producers[:4]:
        waitlist.join(producer, "a", 0, turns.pop(0) if turns else None)
    assert admit(waitlist, 3)
    again = [Caller() for _ in order]
    for number in order:
        waitlist.leave(producers[number])
        waitlist.join(again[number], "a", 0, number + 1)
    waitlist.join(producers[4], "a")
    assert [*again, *producers[3:]] == [*waitlist.line]
    assert {"a": 5} == waitlist.by_owner
