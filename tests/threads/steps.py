"""A tracer that calls a test's function wherever CPython may switch threads or handle a signal.

These places are after a call, at the start of a function, and at a jump back. A finalizer may run
at the same places. The place after a call of Python code is left out, because CPython does not
check there if it inlines the call. `Tracer` calls the function at each of these places in flushq.
(Since Python 3.12 a function is traced step by step only from its second call on, and an untraced
call ends that.)
"""

import dis
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

CAN_TRACE_THREADS = sys.version_info[:2] != (3, 12)
"""Whether threads may be traced step by step; Python 3.12 crashes if several threads are traced."""

BREAKS = {dis.opmap.get(name) for name in ("CALL", "CALL_KW", "CALL_FUNCTION_EX", "JUMP_BACKWARD")}


class Tracer:
    """A trace function that calls ``between`` between any two steps of the code of flushq."""

    def __init__(self, between: Callable[[], object]) -> None:
        self._between = between
        self._last: dict[FrameType, int | None] = {}
        self._codes: dict[CodeType, bytes] = {}

    def trace(self, frame: FrameType, event: str, _: Any) -> Any:
        """Trace a thread; meant for sys.settrace."""
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
