"""The virtual loop keeps exact time, never waits, and never hangs."""

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.virtual import Deadlock, VirtualLoop, idle, now, run, virtual_loop

TIMES = st.floats(min_value=0, allow_infinity=False, allow_nan=False)


async def test_sleep_takes_exactly_its_time() -> None:
    """An async test begins at 0, and a sleep of a year moves the clock by exactly a year."""
    assert 0.0 == now()
    year = 365 * 24 * 3600.0
    await asyncio.sleep(year)
    assert year == now()


@given(times=st.lists(TIMES))
def test_timers_fire_exactly_at_their_time(times: list[float]) -> None:
    """A timer fires exactly at its time, to the last bit, and timers fire in order."""
    times += [math.nextafter(time, 0.0) for time in times]

    async def main() -> list[float]:
        fired: list[float] = []
        for when in times:
            virtual_loop().call_at(when, lambda: fired.append(now()))
        await asyncio.sleep(max(times, default=0.0))
        await idle()
        return fired

    assert sorted(times) == run(main)


async def test_a_cancelled_timer_moves_no_clock() -> None:
    """The clock does not jump to the time of a cancelled timer."""
    for when in range(1, 500):
        virtual_loop().call_at(when, pytest.fail, "a cancelled timer fired").cancel()
    await asyncio.sleep(1000.0)
    assert 1000.0 == now()


async def test_elapse_lets_time_pass_within_a_callback() -> None:
    """A task that computes for a while delays the timers that were due in the meantime."""
    fired: list[float] = []
    virtual_loop().call_at(1.0, lambda: fired.append(now()))
    virtual_loop().elapse(3.0)
    assert 3.0 == now()
    await idle()
    assert [3.0] == fired


async def test_idle_waits_for_all_that_is_ready() -> None:
    """idle() returns when all callbacks and timers of the current time have run."""
    steps: list[object] = []

    async def walk() -> None:
        for step in range(10):
            await asyncio.sleep(0)
            steps.append(step)

    walking = asyncio.create_task(walk())
    virtual_loop().call_later(0.0, steps.append, "now")
    virtual_loop().call_later(1e-300, steps.append, "later")
    await idle()
    assert walking.done()
    assert {*range(10), "now"} == set(steps)
    assert 0.0 == now()


def test_a_deadlock_is_an_error_at_once() -> None:
    """If a task waits and nothing can wake it, the loop raises Deadlock with time and task."""
    with pytest.raises(Deadlock):
        run(asyncio.sleep, math.inf)

    async def wait_for_nothing() -> None:
        await asyncio.sleep(2.5)
        await asyncio.Event().wait()

    with pytest.raises(Deadlock, match=r"at 2\.5 s .*\n.*wait_for_nothing"):
        run(wait_for_nothing)


def test_a_deadlock_does_not_keep_the_loop_from_closing() -> None:
    """After a deadlock the waiting tasks are cancelled, and their cleanup runs."""
    cleaned: list[str] = []

    async def main() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1.0)
            cleaned.append("main")

    with pytest.raises(Deadlock):
        run(main)
    assert ["main"] == cleaned


@pytest.mark.asyncio(loop_factories=["standard"])
async def test_a_test_may_choose_the_standard_loop() -> None:
    """A test that names the standard loop runs in real time, and can wait for a thread."""
    assert not isinstance(asyncio.get_running_loop(), VirtualLoop)
    assert "from a thread" == await asyncio.to_thread(lambda: "from a thread")


@pytest.mark.asyncio(loop_factories=["virtual", "standard", "uvloop"])
async def test_a_test_may_run_on_several_loops(request: pytest.FixtureRequest) -> None:
    """A test that names several loops runs once on each."""
    loop = asyncio.get_running_loop()
    on_uvloop = "uvloop" in request.node.name
    assert on_uvloop == (type(loop).__module__ == "uvloop")
