"""Where CPython may switch threads, and looks for signals: after a call, at the start of a function
and at a jump back; nowhere else. A finalizer may run in the same places.

The check after a call of Python code is left out, as CPython does not make it for such a call that
it inlines. `Tracer` has something done at each of these places in flushq.
"""

import dis
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

BREAKS = {"RESUME", "CALL", "CALL_KW", "CALL_FUNCTION_EX", "JUMP_BACKWARD"}

_OPNAMES: dict[int, str] = dict(enumerate(dis.opname))


class Tracer:
    """Does something between any two steps, from outside of the code that makes them."""

    def __init__(self, between: Callable[[], object]) -> None:
        self._between = between
        self._last: dict[FrameType, str] = {}

    def trace(self, frame: FrameType, event: str, _: Any) -> Any:
        """Trace a thread: for sys.settrace."""
        if "/flushq/" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if frame.f_back in self._last:
            self._last[frame.f_back] = ""
        return self._trace_step

    def _trace_step(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "return":
            self._last.pop(frame, None)
        elif event == "opcode":
            last = self._last.get(frame, "")
            self._last[frame] = _OPNAMES[frame.f_code.co_code[frame.f_lasti]]
            if last in BREAKS:
                self._between()
        return self._trace_step


def at_step(number: int, act: Callable[[], object], call: Callable[[], object]) -> bool:
    """Make a call, and act once, after so many steps; return whether there were so many.

    What the act raises hits the call, as a signal handler's exception does.
    """
    count = 0

    def between() -> None:
        nonlocal count
        count += 1
        if count == number:
            act()

    before = sys.gettrace()
    sys.settrace(Tracer(between).trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count >= number
