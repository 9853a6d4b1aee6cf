"""The line of waiting producers: first come, first served; nothing given out is lost."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flushq.errors import QueueClosed, QueueFull
from flushq.gate import Gate
from tests.virtual import idle, run


class Line:
    """A gate with producers that wait at it, and a note of what became of each."""

    def __init__(self) -> None:
        self.gate: Gate[str] = Gate()
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.came: list[str] = []

    async def join(self, *names: str) -> None:
        """Have producers wait, each on behalf of an owner that is named by its first letter."""
        for name in names:
            self.tasks[name] = asyncio.create_task(self._produce(name))
            await idle()

    async def _produce(self, name: str) -> None:
        await self.gate.wait(name[0])
        self.came.append(name)

    def outcome(self, name: str) -> str:
        """What became of a producer."""
        task = self.tasks[name]
        if not task.done():
            return "waits"
        if task.cancelled():
            return "cancelled"
        return str(task.exception() or "came")


async def test_an_empty_gate_is_free() -> None:
    """With nobody in line, whoever comes has nobody before it."""
    gate: Gate[str] = Gate()
    assert (0, 0, False, Counter()) == (len(gate), gate.reserved, gate.busy, gate.waiting)
    assert not gate.admit(5)


async def test_first_come_first_served() -> None:
    """Room is given out from the front of the line."""
    line = Line()
    await line.join("a", "b", "c")
    assert line.gate.admit(2)
    await idle()
    assert ["a", "b"] == line.came
    assert 1 == len(line.gate)
    assert line.gate.admit(1)
    await idle()
    assert ["a", "b", "c"] == line.came


async def test_room_is_reserved_until_its_producer_runs() -> None:
    """Between admission and the producer's next step the room is not given out again."""
    line = Line()
    await line.join("a", "b")
    assert line.gate.admit(1)
    assert (1, 1, True) == (line.gate.reserved, len(line.gate), line.gate.busy)
    assert not line.gate.admit(1)
    await idle()
    assert (0, ["a"]) == (line.gate.reserved, line.came)


async def test_a_gate_is_busy_while_room_is_reserved() -> None:
    """Who comes while the last in line is on its way has it before itself."""
    line = Line()
    await line.join("a")
    line.gate.admit(1)
    assert (0, True) == (len(line.gate), line.gate.busy)
    await idle()
    assert not line.gate.busy


async def test_no_room_admits_nobody() -> None:
    """Without room, or with less than is reserved already, nobody comes in."""
    line = Line()
    await line.join("a", "b", "c")
    assert not line.gate.admit(0)
    assert not line.gate.admit(-1)
    line.gate.admit(2)
    assert not line.gate.admit(1)
    assert 1 == len(line.gate)
    line.gate.admit(3)
    await idle()


async def test_a_cancelled_producer_leaves_the_line() -> None:
    """Its place is gone at once, and the next in line comes in."""
    line = Line()
    await line.join("a", "b")
    line.tasks["a"].cancel()
    await idle()
    assert (1, {"b": 1}) == (len(line.gate), line.gate.waiting)
    assert line.gate.admit(1)
    await idle()
    assert ("cancelled", ["b"]) == (line.outcome("a"), line.came)


async def test_room_is_not_given_to_who_was_just_cancelled() -> None:
    """A producer that was cancelled and has not run since is passed over."""
    line = Line()
    await line.join("a", "b")
    line.tasks["a"].cancel()
    assert line.gate.admit(1)
    await idle()
    assert ("cancelled", ["b"], 0) == (line.outcome("a"), line.came, line.gate.reserved)


async def test_nobody_came_if_all_were_cancelled() -> None:
    """Admission says no if everybody in the line had been cancelled."""
    line = Line()
    await line.join("a", "b")
    for task in line.tasks.values():
        task.cancel()
    assert not line.gate.admit(2)
    assert (0, 0) == (len(line.gate), line.gate.reserved)
    await idle()


async def test_a_cancelled_reservation_is_given_back() -> None:
    """A producer that was admitted and is cancelled before it runs leaves its room to the next."""
    line = Line()
    await line.join("a", "b")
    line.gate.admit(1)
    line.tasks["a"].cancel()
    await idle()
    assert ("cancelled", 0) == (line.outcome("a"), line.gate.reserved)
    assert line.gate.admit(1)
    await idle()
    assert ["b"] == line.came


@pytest.mark.parametrize("admitted", [False, True])
async def test_a_closed_coroutine_gives_its_place_back(*, admitted: bool) -> None:
    """A producer whose coroutine is closed leaves neither a place nor a reservation behind."""
    gate: Gate[str] = Gate()
    producer = gate.wait("a")
    producer.send(None)
    if admitted:
        gate.admit(1)
    assert (int(admitted), 1 - admitted) == (gate.reserved, len(gate))
    producer.close()
    assert (0, 0, Counter()) == (gate.reserved, len(gate), gate.waiting)


async def test_each_who_is_turned_away_gets_an_exception_of_its_own() -> None:
    """turn_away asks for an exception for each producer, and spares who is named none for."""
    line = Line()
    await line.join("a1", "b1", "a2")

    def refuse(owner: str) -> QueueClosed | None:
        return QueueClosed("closed") if owner == "a" else None

    line.gate.turn_away(refuse)
    await idle()
    errors = [line.tasks[name].exception() for name in ("a1", "a2")]
    assert ["closed", "closed"] == list(map(str, errors))
    assert errors[0] is not errors[1]
    assert ("waits", 1, 0) == (line.outcome("b1"), len(line.gate), line.gate.reserved)
    line.gate.admit(1)
    await idle()


async def test_the_last_of_some_owners_is_turned_away() -> None:
    """turn_away_last sends away one producer, the last in line that waits for one of them."""
    line = Line()
    await line.join("a1", "b1", "a2", "c1")
    line.gate.turn_away_last({"a", "b"}, QueueFull("no room"))
    await idle()
    outcomes = [line.outcome(name) for name in line.tasks]
    assert ["waits", "waits", "no room", "waits"] == outcomes
    line.gate.turn_away_last({"d"}, QueueFull("no room"))
    assert 3 == len(line.gate)
    line.gate.admit(3)
    await idle()


async def test_who_is_turned_away_and_cancelled_is_cancelled() -> None:
    """A cancellation is never swallowed for a refusal, and gives back no room that there is not."""
    line = Line()
    await line.join("a")
    line.gate.turn_away(lambda _: QueueClosed("closed"))
    line.tasks["a"].cancel()
    await idle()
    assert ("cancelled", 0) == (line.outcome("a"), line.gate.reserved)


async def test_waiting_counts_the_producers_of_each_owner() -> None:
    """Owners are counted as long as one of their producers waits in the line."""
    line = Line()
    await line.join("a1", "b1", "a2")
    assert {"a": 2, "b": 1} == line.gate.waiting
    line.gate.admit(2)
    assert {"a": 1} == line.gate.waiting
    assert "b" not in line.gate.waiting
    await idle()
    line.gate.admit(1)
    await idle()
    assert {} == line.gate.waiting


STEPS = st.one_of(
    st.tuples(st.just("join"), st.sampled_from("ab")),
    st.tuples(st.just("admit"), st.integers(-1, 4)),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("turn away"), st.sampled_from("ab")),
    st.tuples(st.just("turn last away"), st.sampled_from("ab")),
    st.tuples(st.just("run"), st.none()),
)


class Model:
    """What should become of every producer: a list of who waits, and a note of the others."""

    def __init__(self) -> None:
        self.line = Line()
        self.waiting: list[str] = []
        self.admitted: list[str] = []
        self.expected: dict[str, str] = {}

    async def step(self, action: str, value: Any) -> None:
        """Do one step at the gate and in the model."""
        gate, tasks = self.line.gate, self.line.tasks
        alive = [name for name in self.waiting if self.expected[name] == "waits"]
        if action == "join":
            await self.join(f"{value}{len(tasks)}")
        elif action == "admit":
            came = alive[: max(value - len(self.admitted), 0)]
            assert bool(came) == gate.admit(value)
            self.admitted += came
            self.leave(came, "came")
        elif action == "cancel" and value < len(tasks):
            name = list(tasks)[value]
            if tasks[name].cancel():
                self.expected[name] = "cancelled"
        elif action == "turn away":
            gate.turn_away(lambda owner: QueueClosed("away") if owner == value else None)
            self.leave([name for name in alive if name[0] == value], "away")
        elif action == "turn last away":
            gate.turn_away_last(value, QueueFull("away"))
            of_owner = [name for name in self.waiting if name[0] == value]
            self.leave([name for name in of_owner[-1:] if name in alive], "away")
        else:
            await self.run()

    async def join(self, name: str) -> None:
        """A producer comes; everybody runs meanwhile."""
        await self.line.join(name)
        await self.run()
        self.waiting.append(name)
        self.expected[name] = "waits"

    async def run(self) -> None:
        """Everybody who can, goes on."""
        await idle()
        self.admitted.clear()
        self.waiting = [name for name in self.waiting if self.expected[name] == "waits"]

    def leave(self, names: list[str], outcome: str) -> None:
        """Some producers leave the line."""
        self.waiting = [name for name in self.waiting if name not in names]
        self.expected.update(dict.fromkeys(names, outcome))


@given(steps=st.lists(STEPS, max_size=40))
def test_a_gate_is_a_list_of_who_waits(steps: list[tuple[str, Any]]) -> None:
    """Whatever happens, all come in order, are sent away or cancelled, and no room is lost."""

    async def main() -> None:
        model = Model()
        gate = model.line.gate
        for action, value in steps:
            await model.step(action, value)
            assert gate.reserved == len(model.admitted)
            assert gate.waiting.total() == len(gate)
            assert gate.busy == (len(gate) > 0 or gate.reserved > 0)
        await model.run()
        assert len(model.waiting) == len(gate)
        gate.admit(len(gate))
        model.leave(list(model.waiting), "came")
        await idle()
        assert model.expected == {name: model.line.outcome(name) for name in model.line.tasks}
        came = [name for name, outcome in model.expected.items() if outcome == "came"]
        assert came == model.line.came
        assert (0, 0) == (gate.reserved, len(gate))

    run(main)


async def test_a_producer_that_is_closed_after_its_cancellation_says_nothing() -> None:
    """A coroutine that is closed while its cancellation is on the way ends without an error."""
    gate: Gate[None] = Gate()
    waiting = gate.wait(None)
    place: asyncio.Future[None] = waiting.send(None)
    place.cancel()
    assert not gate.admit(1)
    waiting.close()
    assert (0, 0) == (gate.reserved, len(gate))
