"""decide under watch: what a policy holds, before and after it, and the clocks that it reads.

Theory of operation. The events themselves ask decide, and decide may change something the first
time that it leaves alone the second time. So a watching function takes its place in the class while
an event is told. What a policy holds is copied, and compared as far as it can be. Clocks are
built-in functions, and a profiler is told of each call of those. Calls made elsewhere than in the
modules of the policy (or by a loop that is asked for its time) do not count: the garbage collector
may run meanwhile and call anything, and a log record has a time.
"""

import copy
import inspect
import pickle
import sys
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType, ModuleType
from typing import Any
from unittest.mock import patch

from flushq.policy import Decision, FlushPolicy, attributes_of

_MISSING = object()
_CLOCKS = {
    *(f"time.{name}" for name in ("time", "monotonic", "perf_counter", "process_time")),
    *(f"time.{name}_ns" for name in ("time", "monotonic", "perf_counter", "process_time")),
    *(f"datetime.{name}" for name in ("now", "utcnow", "today")),
    "date.today",
}


@contextmanager
def watched(policy: FlushPolicy, changed: set[str]) -> Iterator[None]:
    """Add the names of what decide of such a policy changes meanwhile."""
    kind = type(policy)
    decide = inspect.getattr_static(kind, "decide")

    def watching(self: FlushPolicy, now: float) -> Decision:
        before = _snapshot(self)
        decision = _ask(decide, self, now)
        changed.update(_changes(kind, before, _snapshot(self)))
        return decision

    with patch.object(kind, "decide", watching):
        yield


@contextmanager
def clocks_read(kind: type[FlushPolicy]) -> Iterator[set[str]]:
    """Collect the names of the clocks that decide of such a policy reads meanwhile.

    Where a profiler is at work already, it stays, and no clock is seen.
    """
    decide = inspect.getattr_static(kind, "decide")
    modules = {base.__module__ for base in kind.__mro__} | {"asyncio.base_events"}
    clocks: set[str] = set()

    def watching(self: FlushPolicy, now: float) -> Decision:
        calls: list[tuple[FrameType, str, Any]] = []
        before = sys.getprofile()
        sys.setprofile(lambda *call: calls.append(call))
        try:
            return _ask(decide, self, now)
        finally:
            sys.setprofile(before)
            clocks.update(_clocks(calls, modules))

    if sys.getprofile() is not None:
        yield clocks
        return
    with patch.object(kind, "decide", watching):
        yield clocks


def _ask(decide: Any, policy: FlushPolicy, now: float) -> Decision:
    """Call what the class has as decide, a function or anything else that can be called."""
    bound = decide.__get__(policy, type(policy)) if hasattr(decide, "__get__") else decide
    decision: Decision = bound(now)
    return decision


def _clocks(calls: Sequence[tuple[FrameType, str, Any]], modules: Container[str]) -> Iterator[str]:
    """Yield the names of the clocks among what these modules have called."""
    for frame, event, called in calls:
        if event == "c_call" and str(frame.f_globals.get("__name__")) in modules:
            owner = called.__self__
            if isinstance(owner, ModuleType | type):
                name = f"{owner.__name__}.{called.__name__}"
                if name in _CLOCKS:
                    yield name


def _changes(kind: type, before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for name in before.keys() | after.keys():
        same = before.get(name, _MISSING) == after.get(name, _MISSING)
        if not same and (name in before or not _is_cached(kind, name)):
            yield name


def _is_cached(kind: type, name: str) -> bool:
    """Whether the class keeps a value under this name: a cached property, once worked out."""
    return hasattr(inspect.getattr_static(kind, name, None), "__get__")


def _snapshot(policy: FlushPolicy) -> dict[str, Any]:
    """Copies of what a policy holds, by name, as far as it can be copied and compared."""
    held = {}
    for name, value in {**attributes_of(policy), "queue": policy.queue}.items():
        with suppress(Exception):
            held[name] = _image(value)
    return held


def _image(value: object) -> object:
    """Return what compares equal as long as the value is not changed."""
    with suppress(Exception):
        one, other = copy.deepcopy(value), copy.deepcopy(value)
        if bool(one == other):
            return one
    return pickle.dumps(value)
