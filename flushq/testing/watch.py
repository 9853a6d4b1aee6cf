"""The watch on ``decide``: it finds attributes that decide changes, and clocks that decide reads.

Theory of operation. The event methods of a policy call decide. A wrong decide may change something
when an event method calls it, and nothing when it is called again. So the watch must see the calls
by the event methods: while the policy is told an event, another function replaces decide in the
class. This function calls the real decide. It copies the attributes of the policy before and after
this call, and compares the copies, as far as they can be compared.

Clocks are built-in functions, and a profiler sees each call of a built-in function. A call of a
clock counts if it comes from one of these: the module of the policy, the module of a base class, or
an event loop (in ``loop.time()``). Other calls do not count: the garbage collector may run
meanwhile and call any function, and logging reads a clock.
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
    """Add to ``changed`` the names of the attributes that ``decide`` changes within the block."""
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
    """Yield a set; add to it the names of the clocks that ``decide`` reads within the block.

    If another profiler is active, it stays active, and no clocks are found.
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
    """Call ``decide`` for a policy; ``decide`` is an attribute of the class, not a bound method."""
    bound = decide.__get__(policy, type(policy)) if hasattr(decide, "__get__") else decide
    decision: Decision = bound(now)
    return decision


def _clocks(calls: Sequence[tuple[FrameType, str, Any]], modules: Container[str]) -> Iterator[str]:
    """Yield the names of the clocks among the functions that code of ``modules`` called."""
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
    """Return whether a name belongs to a descriptor of the class, such as a cached property."""
    return hasattr(inspect.getattr_static(kind, name, None), "__get__")


def _snapshot(policy: FlushPolicy) -> dict[str, Any]:
    """Return copies, by name, of those attributes of a policy that can be copied and compared."""
    held = {}
    for name, value in {**attributes_of(policy), "queue": policy.queue}.items():
        with suppress(Exception):
            held[name] = _image(value)
    return held


def _image(value: object) -> object:
    """Return an image of a value; while the value does not change, its images are equal."""
    with suppress(Exception):
        one, other = copy.deepcopy(value), copy.deepcopy(value)
        if bool(one == other):
            return one
    return pickle.dumps(value)
