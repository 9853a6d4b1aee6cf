"""The line of producers: first come, first served; no room that was given out is lost."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flushq.core.waitlist import WaitList
from flushq.errors import QueueClosed, QueueFull
from tests.core.support import Caller


class Line:
    """A line with producers in it, and a note of what became of each.

    Attributes:
        waitlist: The line.
        producers: All that have come, by name; each has an owner, named by its first letter.
        came: Producers that were given room and have gone on, in order.
    """

    def __init__(self, *names: str) -> None:
        self.waitlist: WaitList[str] = WaitList()
        self.producers: dict[str, Caller] = {}
        self.came: list[str] = []
        self._waiting: dict[str, Caller] = {}
        self._cancelled: set[str] = set()
        for name in names:
            self.join(name)

    def join(self, name: str) -> None:
        """A producer comes."""
        self.producers[name] = self._waiting[name] = Caller()
        self.waitlist.join(self.producers[name], name[0])

    def cancel(self, name: str) -> bool:
        """A producer is cancelled, to go on later; return False if it has gone on already."""
        if name not in self._waiting:
            return False
        self._cancelled.add(name)
        self._waiting[name].cancel()
        return True

    def go_on(self) -> None:
        """All producers that can go on leave, and those with room take it."""
        for name, producer in list(self._waiting.items()):
            if producer.done():
                del self._waiting[name]
                self.waitlist.leave(producer)
                if self.outcome(name) == "came":
                    self.came.append(name)

    def outcome(self, name: str) -> str:
        """What became of a producer."""
        if name in self._cancelled:
            return "cancelled"
        producer = self.producers[name]
        return str(producer.answer or "came") if producer.done() else "waits"

    def outcomes(self) -> dict[str, str]:
        """What became of each."""
        return {name: self.outcome(name) for name in self.producers}


def test_an_empty_line_has_no_claims() -> None:
    """With nobody in line, a producer has nobody before it."""
    waitlist = Line().waitlist
    assert (0, 0, 0, Counter()) == (
        len(waitlist),
        waitlist.reserved,
        waitlist.claims,
        waitlist.by_owner,
    )
    assert not waitlist.admit(5)


def test_first_come_first_served() -> None:
    """Room is given out from the front of the line."""
    line = Line("a", "b", "c")
    assert line.waitlist.admit(2)
    line.go_on()
    assert ["a", "b"] == line.came
    assert line.waitlist.admit(1)
    line.go_on()
    assert ["a", "b", "c"] == line.came


def test_room_is_reserved_until_its_producer_goes_on() -> None:
    """Until then the room is not given out again, and the producer comes before newcomers."""
    line = Line("a", "b")
    assert line.waitlist.admit(1)
    assert (1, 1, 2) == (line.waitlist.reserved, len(line.waitlist), line.waitlist.claims)
    assert not line.waitlist.admit(1)
    line.go_on()
    assert (0, 1, ["a"]) == (line.waitlist.reserved, line.waitlist.claims, line.came)


@pytest.mark.parametrize("room", [0, -1])
def test_no_room_admits_nobody(room: int) -> None:
    """Without room nobody comes in."""
    line = Line("a")
    assert not line.waitlist.admit(room)
    assert 1 == len(line.waitlist)


def test_a_cancelled_producer_is_passed_over() -> None:
    """One that was cancelled is given no room, whether or not it has gone on since."""
    line = Line("a", "b", "c")
    line.cancel("a")
    line.go_on()
    assert (2, {"b": 1, "c": 1}) == (len(line.waitlist), line.waitlist.by_owner)
    line.cancel("b")
    assert line.waitlist.admit(1)
    line.go_on()
    assert (["c"], 0) == (line.came, line.waitlist.reserved)


def test_nobody_came_if_all_were_cancelled() -> None:
    """Admission returns False if everybody in the line had been cancelled."""
    line = Line("a", "b")
    line.cancel("a")
    line.cancel("b")
    assert not line.waitlist.admit(2)
    assert 0 == line.waitlist.claims


def test_a_cancelled_reservation_is_given_back() -> None:
    """A producer that is cancelled after it was given room leaves it to the next."""
    line = Line("a", "b")
    line.waitlist.admit(1)
    line.cancel("a")
    line.go_on()
    assert 0 == line.waitlist.reserved
    assert line.waitlist.admit(1)
    line.go_on()
    assert {"a": "cancelled", "b": "came"} == line.outcomes()


@pytest.mark.parametrize("admitted", [False, True])
def test_a_producer_may_leave_at_any_time(*, admitted: bool) -> None:
    """One that leaves by itself leaves neither a place nor a reservation behind."""
    line = Line("a")
    if admitted:
        line.waitlist.admit(1)
    line.waitlist.leave(line.producers["a"])
    assert (0, Counter()) == (line.waitlist.claims, line.waitlist.by_owner)


def test_each_producer_is_rejected_with_an_exception_of_its_own() -> None:
    """A refusal is made for each producer, and one without a refusal goes on waiting."""
    line = Line("a1", "b1", "a2")
    line.waitlist.reject(lambda owner: QueueClosed("closed") if owner == "a" else None)
    assert {"a1": "closed", "b1": "waits", "a2": "closed"} == line.outcomes()
    assert line.producers["a1"].answer is not line.producers["a2"].answer
    assert ({"b": 1}, 0) == (line.waitlist.by_owner, line.waitlist.reserved)


def test_the_last_of_some_owners_is_rejected() -> None:
    """One producer is rejected, the last in line that waits for one of them, if there is any."""
    line = Line("a1", "b1", "a2", "c1")
    line.waitlist.reject_last({"a", "b"}, QueueFull("no room"))
    expected = {"a1": "waits", "b1": "waits", "a2": "no room", "c1": "waits"}
    assert expected == line.outcomes()
    line.waitlist.reject_last({"d"}, QueueFull("no room"))
    assert expected == line.outcomes()


def test_a_producer_that_is_rejected_gives_back_no_room() -> None:
    """A refusal is not a reservation, and a cancellation that comes after it is not swallowed."""
    line = Line("a")
    line.waitlist.reject(lambda _: QueueClosed("closed"))
    line.cancel("a")
    line.go_on()
    assert ("cancelled", 0) == (line.outcome("a"), line.waitlist.reserved)


def test_owners_are_counted_while_their_producers_wait() -> None:
    """An owner has a count as long as one of its producers waits in the line."""
    line = Line("a1", "b1", "a2")
    assert {"a": 2, "b": 1} == line.waitlist.by_owner
    line.waitlist.admit(2)
    assert {"a": 1} == line.waitlist.by_owner
    line.waitlist.admit(3)
    assert {} == line.waitlist.by_owner


STEPS = st.one_of(
    st.tuples(st.just("join"), st.sampled_from("ab")),
    st.tuples(st.just("admit"), st.integers(-1, 4)),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("reject"), st.sampled_from("ab")),
    st.tuples(st.just("reject last"), st.sampled_from("ab")),
    st.tuples(st.just("go on"), st.none()),
)


class Model:
    """What should become of every producer: a list of those who wait, and a note of the others.

    Attributes:
        line: The line that it is compared with.
        waiting: Producers in the line, with those that were cancelled and have not left.
        admitted: Producers that were given room and have not gone on.
        expected: What should become of each.
    """

    def __init__(self) -> None:
        self.line = Line()
        self.waiting: list[str] = []
        self.admitted: list[str] = []
        self.expected: dict[str, str] = {}

    def step(self, action: str, value: Any) -> None:
        """Do one step in the line and in the model."""
        waitlist = self.line.waitlist
        alive = [name for name in self.waiting if self.expected[name] == "waits"]
        if action == "join":
            self.join(f"{value}{len(self.expected)}")
        elif action == "admit":
            came = alive[: max(value - len(self.admitted), 0)]
            assert bool(came) == waitlist.admit(value)
            self.admitted += came
            self.leave(came, "came")
        elif action == "cancel" and value < len(self.expected):
            name = list(self.expected)[value]
            if self.line.cancel(name):
                self.expected[name] = "cancelled"
        elif action == "reject":
            waitlist.reject(lambda owner: QueueClosed("rejected") if owner == value else None)
            self.leave([name for name in alive if name[0] == value], "rejected")
        elif action == "reject last":
            waitlist.reject_last(value, QueueFull("rejected"))
            of_owner = [name for name in self.waiting if name[0] == value]
            self.leave([name for name in of_owner[-1:] if name in alive], "rejected")
        elif action == "go on":
            self.go_on()

    def join(self, name: str) -> None:
        """A producer comes; everybody goes on meanwhile."""
        self.go_on()
        self.line.join(name)
        self.waiting.append(name)
        self.expected[name] = "waits"

    def go_on(self) -> None:
        """All producers that can go on do so."""
        self.line.go_on()
        self.admitted.clear()
        self.waiting = [name for name in self.waiting if self.expected[name] == "waits"]

    def leave(self, names: list[str], outcome: str) -> None:
        """Some producers leave the line."""
        self.waiting = [name for name in self.waiting if name not in names]
        self.expected.update(dict.fromkeys(names, outcome))


@given(steps=st.lists(STEPS, max_size=40))
def test_a_line_is_a_list_of_producers(steps: list[tuple[str, Any]]) -> None:
    """Whatever happens, all come in order, are rejected or cancelled, and no room is lost."""
    model = Model()
    waitlist = model.line.waitlist
    for action, value in steps:
        model.step(action, value)
        assert len(model.admitted) == waitlist.reserved
        assert waitlist.by_owner.total() == len(waitlist)
        assert waitlist.claims == waitlist.reserved + len(waitlist)
    model.go_on()
    assert len(model.waiting) == len(waitlist)
    waitlist.admit(len(waitlist))
    model.leave(list(model.waiting), "came")
    model.line.go_on()
    assert model.expected == model.line.outcomes()
    assert [name for name, end in model.expected.items() if end == "came"] == model.line.came
    assert 0 == waitlist.claims
