"""The events of a session, in order, and the complaints about them."""

from typing import Protocol


class Clock(Protocol):
    """The clock of a history: a loop, or the time of a script."""

    iteration: int

    def time(self) -> float:
        """Return the time in seconds."""


class History:
    """A list of events, to read when something went wrong.

    Attributes:
        clock: The clock that gives the time and the iteration of each event.
        complaints: The breaches of the contract; empty if there are none.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.complaints: list[str] = []
        self._events: list[tuple[float, int, str, str, tuple[object, ...]]] = []

    def note(self, who: str, what: str, *facts: object) -> None:
        """Note an event; the facts must not change later."""
        self._events.append((self.clock.time(), self.clock.iteration, who, what, facts))

    def complain(self, point: int | str, text: str) -> None:
        """Note that something broke a point of the contract."""
        self.complaints.append(f"contract {point}: {text}")
        self.note("CHECKER", f"contract {point}: {text}")

    def lines(self) -> list[str]:
        """Return each event as a line: time, iteration of the loop, who, what."""
        return [_line(*event) for event in self._events]


def _line(time: float, iteration: int, who: str, what: str, facts: tuple[object, ...]) -> str:
    return f"{time:9.4f} {iteration:4d}  {who:<11} {what} {' '.join(map(_show, facts))}".rstrip()


def _show(fact: object) -> str:
    if isinstance(fact, tuple):
        return f"[{' '.join(map(_show, fact))}]"
    return f"{fact:g}" if isinstance(fact, float) else f"{fact!r}" if fact is not None else ""
