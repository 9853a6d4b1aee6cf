"""CircuitBreaker: each row of its table of states, and the whole table against a model."""

import asyncio
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flushq.errors import PartialFailure
from flushq.throttles import CircuitBreaker
from tests.strategies import GAPS, UNITS

ERRORS = {
    "succeeded": None,
    "failed": OSError("no route"),
    "failed in part": PartialFailure({0: OSError("no route")}),
    "neither": asyncio.CancelledError(),
    "neither, too": KeyboardInterrupt(),
}


def end(breaker: CircuitBreaker, now: float, *hows: str, seconds: float = 0) -> None:
    """End calls in these ways, each after so many seconds."""
    for how in hows:
        breaker.call_done(now, 1, seconds, error=ERRORS[how])


def opened(now: float = 10, seconds: float = 5) -> CircuitBreaker:
    """Return a breaker that has just opened."""
    breaker = CircuitBreaker(2, seconds)
    end(breaker, now, "failed", "failed")
    return breaker


@pytest.mark.parametrize(
    ("hows", "opens"),
    [
        (["failed"], False),
        (["failed", "failed"], True),
        (["failed", "failed in part"], True),
        (["failed", "succeeded", "failed"], False),
        (["failed", "neither", "failed"], True),
        (["failed", "neither"], False),
        (["neither", "neither, too"], False),
    ],
)
def test_it_opens_after_so_many_failures_in_a_row(hows: list[str], *, opens: bool) -> None:
    """A success resets the count of failures; a cancellation or an interrupt does not."""
    breaker = CircuitBreaker(2, 5)
    end(breaker, 10, *hows)
    assert (15 if opens else 12) == breaker.ready_at(12)


def test_while_open_the_end_of_a_call_changes_nothing() -> None:
    """While open, a breaker is not closed by a success, and a failure does not extend the pause."""
    breaker = opened()
    end(breaker, 12, *ERRORS, seconds=9)
    assert [15, 15] == [breaker.ready_at(now) for now in (12, 20)]


def test_after_the_pause_one_call_alone_tries() -> None:
    """After the pause a second call must wait until the first one has ended."""
    breaker = opened()
    breaker.call_started(20, 1)
    assert math.inf == breaker.ready_at(20)
    end(breaker, 21, *ERRORS, seconds=12)
    assert math.inf == breaker.ready_at(21)


@pytest.mark.parametrize(
    ("how", "ready", "failures"),
    [("succeeded", 22, 2), ("failed", 27, 0), ("failed in part", 27, 0), ("neither", 15, 0)],
)
def test_the_one_call_decides(how: str, ready: float, failures: int) -> None:
    """A success closes the breaker and resets its count; a failure opens it for another pause."""
    breaker = opened()
    breaker.call_started(20, 1)
    end(breaker, 22, how, seconds=2)
    assert ready == breaker.ready_at(22)
    end(breaker, 22, *["failed"] * failures)
    assert (27 if failures else ready) == breaker.ready_at(22)


class Model:
    """A model of the table of states, in which calls have names."""

    def __init__(self, failures: int, seconds: Any) -> None:
        self.failures, self.seconds = failures, seconds
        self.state, self.row, self.until = "closed", 0, -math.inf
        self.only: int | None = None

    def ready_at(self, now: Any) -> Any:
        """Return the time that the state determines."""
        return {"closed": now, "open": self.until, "half-open": math.inf}[self.state]

    def started(self, call: int) -> None:
        """Start a call."""
        if self.state == "open":
            self.state, self.only = "half-open", call

    def done(self, now: Any, call: int, error: BaseException | None) -> None:
        """End a call."""
        if self.state == "open" or (self.state == "half-open" and call != self.only):
            return
        if error is None:
            self.state, self.row = "closed", 0
        elif isinstance(error, Exception):
            self.row += 1
            if self.state == "half-open" or self.row == self.failures:
                self.state, self.until = "open", now + self.seconds
        elif self.state == "half-open":
            self.state = "open"


STEPS = st.lists(
    st.tuples(
        st.integers(0, 9),
        st.none() | st.tuples(st.integers(0, 3), st.sampled_from(list(ERRORS.values()))),
    ),
    max_size=60,
)
"""The steps: after how many units, which running call ends, and how; None: a call starts."""


def compare(failures: int, seconds: Any, steps: Any, unit: Any, now: Any) -> None:
    """Assert that a breaker and the model give the same answers."""
    breaker, model = CircuitBreaker(failures, seconds), Model(failures, seconds)
    running: list[tuple[int, Any]] = []
    for number, (gap, ends) in enumerate(steps):
        now += gap * unit
        if ends is not None and running:
            which, error = ends
            call, started = running.pop(which % len(running))
            breaker.call_done(now, 1, now - started, error=error)
            model.done(now, call, error)
        elif breaker.ready_at(now) <= now:
            breaker.call_started(now, 1)
            model.started(number)
            running.append((number, now))
        assert model.ready_at(now) == breaker.ready_at(now)


@given(failures=st.integers(1, 3), seconds=st.integers(1, 12), unit=UNITS, steps=STEPS)
def test_it_is_as_its_table_says(failures: int, seconds: int, unit: Any, steps: Any) -> None:
    """In any history, with any number of calls at a time, the breaker equals the model exactly."""
    compare(failures, seconds * unit, steps, unit, 0 * unit)


@given(
    failures=st.integers(1, 3),
    seconds=st.floats(1e-6, 10),
    unit=st.floats(1e-7, 1),
    begun=st.floats(0, 1e8),
    steps=STEPS,
)
def test_it_is_so_in_floats(
    failures: int, seconds: float, unit: float, begun: float, steps: Any
) -> None:
    """Rounded durations do not make the breaker mistake one call for another."""
    compare(failures, seconds, steps, unit, begun)


@pytest.mark.parametrize("seconds", [5e-324, 1e-9, 1e-7])
def test_a_pause_that_floats_cannot_measure_does_not_end_it(seconds: float) -> None:
    """The breaker does not stay half-open if its pause is too short for floats."""
    breaker = opened(1e9 + 0.1, seconds)
    breaker.call_started(1e9 + 0.1, 1)
    end(breaker, 1e9 + 0.3, "failed", seconds=(1e9 + 0.3) - (1e9 + 0.1))
    assert 1e9 + 0.3 + seconds == breaker.ready_at(1e9 + 0.3)


@given(gap=GAPS, error=st.floats(-2.4, 2.4))
def test_a_duration_need_not_be_exact(gap: int, error: float) -> None:
    """A duration may be wrong by a little less than half the pause."""
    breaker = opened()
    breaker.call_started(20, 1)
    end(breaker, 20 + gap, "succeeded", seconds=gap + 5 + error)
    assert math.inf == breaker.ready_at(20 + gap)
    end(breaker, 20 + gap, "succeeded", seconds=gap + error)
    assert 20 + gap == breaker.ready_at(20 + gap)
