"""Traffic: when items arrive, from a file or from a model."""

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import takewhile
from random import Random

MOST_ITEMS = 10_000_000
BYTE_ORDER_MARK = "\ufeff"
DATE = "an ISO 8601 time"


def read_arrivals(lines: Iterable[str]) -> tuple[list[float], datetime | None]:
    """Read the time in each line: seconds, or ISO 8601 (of UTC unless it says otherwise).

    Empty lines are left out. The result is in seconds since the first time, with the date of that
    time, in UTC, if it has one.

    Raises:
        ValueError: A line is no time, or of the other kind than those above, or earlier; the
            message has the number of the line. Or there are no times.
    """
    times: list[float] = []
    kinds: set[str] = set()
    for number, line in enumerate(lines, 1):
        text = line.removeprefix(BYTE_ORDER_MARK).strip()
        if text:
            kind, time = _read_time(text, number)
            kinds.add(kind)
            if len(kinds) > 1:
                raise ValueError(f"line {number}: {text!r} is {kind}, unlike what is above")
            if times and time < times[-1]:
                raise ValueError(f"line {number}: {text!r} is earlier than what is above")
            times.append(time)
    if not times:
        raise ValueError("there are no arrivals")
    began = datetime.fromtimestamp(times[0], UTC) if kinds == {DATE} else None
    return [time - times[0] for time in times], began


def model_arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """Draw a Poisson process: so many items a second on average, for so long; always the same.

    Raises:
        ValueError: These are too many, or none.
    """
    if rate * seconds > MOST_ITEMS:
        raise ValueError(f"about {rate * seconds:.0f} items are more than {MOST_ITEMS}")
    times = list(takewhile(lambda time: time < seconds, _poisson(rate, Random(seed))))
    if not times:
        raise ValueError("there are no arrivals")
    return times


def _poisson(rate: float, random: Random) -> Iterable[float]:
    time = 0.0
    while True:
        time += random.expovariate(rate)
        yield time


def _read_time(text: str, number: int) -> tuple[str, float]:
    """The kind of time that a text is, and the time."""
    for kind, read in (("a number of seconds", float), (DATE, _read_date)):
        try:
            time = read(text)
        except ValueError:
            continue
        if abs(time) < float("inf"):
            return kind, time
    raise ValueError(f"line {number}: {text!r} is neither seconds nor an ISO 8601 time")


def _read_date(text: str) -> float:
    date = datetime.fromisoformat(text)
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
