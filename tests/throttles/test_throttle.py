"""The base class: what a throttle must answer, and properties that all throttles have."""

import copy
import math
import threading
from typing import Any

import pytest

from flushq.throttles import CircuitBreaker, RateLimit, Throttle
from flushq.throttles.throttle import flaw_in, throttle_copy
from tests.models import exact
from tests.narrow import NarrowReal


class Open(Throttle):
    """A throttle that lets every call start."""

    def ready_at(self, now: float) -> float:
        """Return now."""
        return now


KINDS: list[tuple[type[Throttle], str]] = [(RateLimit, "calls"), (CircuitBreaker, "failures")]
"""Each throttle in flushq and its first argument; the second argument is ``seconds``."""

SECONDS = [
    (0, ValueError, "above 0, not 0"),
    (-1.5, ValueError, r"above 0, not -1\.5"),
    (math.nan, ValueError, "above 0, not nan"),
    (math.inf, ValueError, "finite, not inf"),
    ("2", TypeError, "a real number, not '2'"),
    (True, TypeError, "a real number, not True"),
]
NUMBERS = [
    (0, ValueError, "at least 1, not 0"),
    (2.0, TypeError, r"an int, not 2\.0"),
    (True, TypeError, "an int, not True"),
]


@pytest.mark.parametrize(
    ("kind", "argument", "value", "error", "flaw"),
    [
        *((kind, "seconds", *seconds) for kind, _ in KINDS for seconds in SECONDS),
        *((kind, name, *number) for kind, name in KINDS for number in NUMBERS),
    ],
)
def test_an_argument_that_makes_no_sense(
    kind: Any, argument: str, value: object, error: type[Exception], flaw: str
) -> None:
    """The throttle refuses this value of one argument, although the other argument is good."""
    arguments = {dict(KINDS)[kind]: 2, "seconds": 2, argument: value}
    with pytest.raises(error, match=f"^{argument} must be {flaw}$"):
        kind(**arguments)


@pytest.mark.parametrize("kind", dict(KINDS))
def test_a_throttle_is_shown_by_its_arguments(kind: Any) -> None:
    """The state of a throttle is not in its repr, and is no argument of its constructor."""
    throttle = kind(1, 2.5)
    shown = repr(throttle)
    throttle.call_started(0, 1)
    assert f"{kind.__name__}({dict(KINDS)[kind]}=1, seconds=2.5)" == shown == repr(throttle)
    with pytest.raises(TypeError):
        kind(1, 2.5, 3)


@pytest.mark.parametrize("kind", dict(KINDS))
def test_a_duration_of_few_bits_makes_sums_that_do_not_wrap_round(kind: Any) -> None:
    """The duration is converted to a plain number."""
    throttle = kind(1, NarrowReal(10))
    throttle.call_started(2**16, 1)
    throttle.call_done(2**16, 1, 0, error=OSError())
    assert 2**16 + 10 == throttle.ready_at(2**16)


@pytest.mark.parametrize("throttle", [Open(), RateLimit(2, 9), CircuitBreaker(1, 9)])
def test_a_weight_and_an_error_need_not_be_told(throttle: Throttle) -> None:
    """The weight and the error are optional, and the base class has methods for both events."""
    throttle.call_started(1, 2)
    throttle.call_done(2, 2, 1)
    assert 5 == throttle.ready_at(5)


def test_a_throttle_must_answer() -> None:
    """A subclass without ``ready_at`` cannot be instantiated."""

    class Silent(Throttle):
        pass

    with pytest.raises(TypeError, match="ready_at"):
        Silent()  # type: ignore[abstract]  # that is what is tried


NO_NUMBER = "a time must be a real number, not "
FOR_EVER = "the time must not be inf while no call runs: no call could ever start again"


@pytest.mark.parametrize(
    ("ready", "waiting", "flaw"),
    [
        (5, False, None),
        (-math.inf, False, None),
        (exact(1, 3), False, None),
        (math.inf, True, None),
        (10**400, True, None),
        (math.inf, False, FOR_EVER),
        (10**400, False, FOR_EVER),
        (math.nan, True, NO_NUMBER + "nan"),
        (None, True, NO_NUMBER + "None"),
        (True, True, NO_NUMBER + "True"),
        ("5", True, NO_NUMBER + "'5'"),
    ],
)
def test_the_flaw_in_an_answer(ready: object, *, waiting: bool, flaw: str | None) -> None:
    """A time is a real number; inf, or an int too large for a float, needs a call that runs."""
    assert flaw == flaw_in(ready, waiting=waiting)


@pytest.mark.parametrize("kind", dict(KINDS))
def test_a_copy_has_a_memory_of_its_own(kind: Any) -> None:
    """Events that a copy is told change neither the template nor another copy."""
    template = kind(1, 10)
    told, other = throttle_copy(template), throttle_copy(template)
    told.call_started(0, 1)
    told.call_done(0, 1, 0, error=OSError())
    assert [10, 0, 0] == [throttle.ready_at(0) for throttle in (told, other, template)]
    assert kind(1, 10) == template == other != told
    assert told == copy.deepcopy(told)


class Locked(Open):
    """A throttle with an attribute that cannot be copied."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __repr__(self) -> str:
        return "Locked()"


class Selfish(Open):
    """A throttle whose copy is the throttle itself."""

    def __deepcopy__(self, memo: object) -> "Selfish":
        return self


@pytest.mark.parametrize(
    ("throttle", "flaw"),
    [
        (RateLimit, r"throttle must be an object, such as RateLimit\(\), not its class"),
        (10, "throttle must be a Throttle, not 10"),
        (Locked(), r"cannot make a deep copy of the throttle Locked\(\): .* define __deepcopy__"),
        (Selfish(), "the deep copy of the throttle <(.*)> must be a new Throttle, not <\\1>"),
    ],
    ids=["a class", "a number", "locked", "selfish"],
)
def test_what_cannot_be_copied_is_refused(throttle: Any, flaw: str) -> None:
    """The message shows the throttle, and says what to do."""
    with pytest.raises(TypeError, match=f"^{flaw}$"):
        throttle_copy(throttle)
