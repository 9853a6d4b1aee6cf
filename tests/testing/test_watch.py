"""The watch over decide: it finds changes of the policy, and clocks that decide reads."""

import asyncio
import gc
import logging
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any, cast

import attrs
import pytest

from flushq.policies import NaturalPolicy
from flushq.policy import Decision, Flush, FlushPolicy, Wait
from flushq.testing import Arrive, History, LawBroken, check_history, check_policy
from tests.testing.bad_policies import Flushing, LookingAtTheClock, deciding

ONE_ITEM = History(1, 1.0, (Arrive(0, (0,)),))


class Caching(FlushPolicy):
    """A policy that computes a value when it is first needed, and caches it."""

    @cached_property
    def seconds(self) -> float:
        """The seconds that an item waits."""
        return 2.0

    def decide(self, now: float) -> Decision:
        """Flush when the oldest item has waited that long."""
        due = self.queue.oldest + self.seconds
        return Flush() if due <= now else Wait(due)


CachingInASlot = attrs.frozen(type("CachingInASlot", (FlushPolicy,), dict(vars(Caching))))


class Locked(Flushing):
    """A policy with attributes that cannot be copied or compared; it defines its own copy."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.thing = object()

    def __deepcopy__(self, memo: object) -> "Locked":
        """Return a new policy."""
        return Locked()


def collect(policy: object, now: float) -> Decision:
    """Run the garbage collector, as any allocation may do, and write to a log."""
    gc.collect(0)
    logging.getLogger(__name__).debug("asked at %s", now)
    logging.LogRecord("log", logging.DEBUG, "file", 1, "asked", (), None)
    return Flush()


class Function:
    """A callable object that is not a function."""

    def __call__(self, now: float) -> Decision:
        """Flush."""
        return Flush()


Collecting = deciding("Collecting", collect, __module__=__name__)
Static = deciding("Static", staticmethod(lambda now: Flush()))
Made = deciding("Made", Function())


@pytest.mark.parametrize("policy", [Caching, CachingInASlot, Locked, Collecting, Static, Made])
def test_what_is_unusual_is_not_an_offence(policy: type[FlushPolicy]) -> None:
    """Caching a value is no change, and a clock that a logger reads is not read by decide."""
    check_policy(policy, examples=5)


def test_the_class_is_afterwards_as_it_was() -> None:
    """After a check the class has its own or inherited decide again."""

    class Heir(NaturalPolicy):
        """A policy that inherits decide."""

    decide = NaturalPolicy.decide
    check_policy(NaturalPolicy(), examples=2)
    check_policy(Heir, examples=2)
    assert decide is NaturalPolicy.decide
    assert "decide" not in vars(Heir)


@pytest.mark.parametrize(
    ("clock", "name"),
    [
        (time.time, "time.time"),
        (time.monotonic_ns, "time.monotonic_ns"),
        (time.perf_counter, "time.perf_counter"),
        (lambda: datetime.now(UTC).timestamp(), "datetime.now"),
        (lambda: date.today().toordinal(), "date.today"),  # noqa: DTZ011 - the mistake
        (lambda: asyncio.BaseEventLoop.time(cast("Any", None)), "time.monotonic"),
    ],
)
def test_a_clock_that_decide_reads_is_named(clock: Callable[[], float], name: str) -> None:
    """The clock is named even if reading it breaks another law, too."""
    clocked = deciding("Clocked", lambda _, now: Wait(now + abs(clock()) + 1), __module__=__name__)
    with pytest.raises(LawBroken) as broken:
        check_policy(clocked, examples=5)
    assert f"decide reads {name}: it must use its argument 'now' instead" == broken.value.why
    assert str(broken.value.history[0]).startswith("item_added(0.0, 1, ")
    assert None is sys.getprofile()


def ask_and_look(policy: Any, now: float) -> Decision:
    """Ask an inner policy of this class, if there is one, and then read a clock."""
    if policy.inner is not None:
        policy.inner.decide(now)
        time.monotonic()
    return Flush()


def test_a_clock_that_is_read_after_another_policy_was_asked_is_seen() -> None:
    """The end of the inner decide does not end the watch over the outer one."""
    asking = deciding("Asking", ask_and_look, inner=None, __module__=__name__)
    outer: Any = asking()
    outer.inner = asking()
    with pytest.raises(LawBroken, match=r"decide reads time\.monotonic:"):
        check_history(outer, ONE_ITEM)


def test_a_profiler_that_is_at_work_already_stays() -> None:
    """A profiler that is already set stays set; then reading a clock is not found."""

    def profile(frame: object, event: str, called: object) -> None:
        """Ignore the event."""

    sys.setprofile(profile)
    try:
        check_history(LookingAtTheClock(), ONE_ITEM)
        assert profile is sys.getprofile()
    finally:
        sys.setprofile(None)
