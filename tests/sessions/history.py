"""What happened, in order, and what of it broke the contract."""

import itertools
import zlib
from typing import Self

from tests.sessions.loop import SessionLoop

SCRIPT = "SCRIPT"
SHOWN = 4


class History:
    """A list of events, to be read when something went wrong.

    Attributes:
        loop: Whose time and iterations are noted.
        complaints: What broke the contract; empty if all is well.
    """

    loop: SessionLoop

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self._events: list[tuple[float, int, str, str, tuple[object, ...]]] = []

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def note(self, who: str, what: str, *facts: object) -> None:
        """Note an event; the facts must not change any more."""
        self._events.append((self.loop.time(), self.loop.iteration, who, what, facts))

    def complain(self, point: int, text: str) -> None:
        """Note that something broke a point of the contract."""
        self.complaints.append(f"contract {point}: {text}")
        self.note("CHECKER", f"contract {point}: {text}")

    def lines(self) -> list[str]:
        """Each event as a line: time, iteration of the loop, who, what; long runs are cut."""
        lines: list[str] = []
        for _, group in itertools.groupby(self._events, lambda event: event[:3]):
            run = [_line(*event) for event in group]
            hidden = [f"{'':14}  ... {len(run) - 2 * SHOWN} more ..."]
            lines += run if len(run) <= 3 * SHOWN else run[:SHOWN] + hidden + run[-SHOWN:]
        return lines

    def fingerprint(self) -> int:
        """A number that tells histories apart, but for what the script did and when it stepped."""
        events = [event for event in self._events if event[2] != SCRIPT]
        return zlib.crc32(repr([(time, *facts) for time, _, *facts in events]).encode())


def _line(time: float, iteration: int, who: str, what: str, facts: tuple[object, ...]) -> str:
    return f"{time:9.4f} {iteration:4d}  {who:<11} {what} {' '.join(map(_show, facts))}".rstrip()


def _show(fact: object) -> str:
    if isinstance(fact, tuple):
        return f"[{' '.join(map(_show, fact))}]"
    return f"{fact:g}" if isinstance(fact, float) else f"{fact!r}" if fact is not None else ""
