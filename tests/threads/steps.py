"""Where CPython may switch threads, and looks for signals: there something is done by a test.

That is after a call, at the start of a function and at a jump back, and nowhere else. A finalizer
may run in the same places. The check after a call of Python code is left out, as CPython does not
make it for such a call that it inlines. `Tracer` has something done at each of these places in
flushq. (Since Python 3.12 a function is traced step by step only from the second time that it is
called, and an untraced call ends that.)
"""

import dis
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

CAN_TRACE_THREADS = sys.version_info[:2] != (3, 12)
"""Whether threads may be traced step by step; Python 3.12 crashes if they are several."""

BREAKS = {dis.opmap.get(name) for name in ("CALL", "CALL_KW", "CALL_FUNCTION_EX", "JUMP_BACKWARD")}


class Tracer:
    """Does something between any two steps, from outside of the code that makes them."""

    def __init__(self, between: Callable[[], object]) -> None:
        self._between = between
        self._last: dict[FrameType, int | None] = {}
        self._codes: dict[CodeType, bytes] = {}

    def trace(self, frame: FrameType, event: str, _: Any) -> Any:
        """Trace a thread: for sys.settrace."""
        if "/flushq/" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if frame.f_back in self._last:
            self._last[frame.f_back] = None
        self._between()
        return self._trace_step

    def _trace_step(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "return":
            self._last.pop(frame, None)
        elif event == "opcode":
            last, code = self._last.get(frame), frame.f_code
            steps = self._codes.setdefault(code, b"") or code.co_code
            self._codes[code] = steps
            self._last[frame] = steps[frame.f_lasti]
            if last is not None and last in BREAKS:
                self._between()
        return self._trace_step
