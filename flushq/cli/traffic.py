"""The traffic of the lab (times, partitions, weights): from a file, or random."""

from collections.abc import Hashable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import accumulate, takewhile
from random import Random
from typing import NamedTuple

MOST_ITEMS = 10_000_000
BYTE_ORDER_MARK = "\ufeff"
DATE = "an ISO 8601 time"


class Traffic(NamedTuple):
    """The items that arrive.

    Attributes:
        arrivals: The times at which the items arrive, in seconds. There is at least one.
        began: The date and time at second 0. None: the traffic has no dates.
        partitions: The partition key of each item. None: there are no partitions.
        weights: The weight of each item. None: the items have no weights.
    """

    arrivals: Sequence[float]
    began: datetime | None = None
    partitions: Sequence[Hashable] | None = None
    weights: Sequence[float] | None = None


def read_traffic(lines: Iterable[str]) -> Traffic:
    """Read traffic from lines: each line has the time at which an item arrives.

    The time is in seconds or in ISO 8601 (UTC if the line has no time zone). A tab and the
    partition key of the item may follow. Empty lines are skipped. In the result, ``arrivals`` are
    in seconds since the first time in the lines. If the lines have dates, ``began`` is the first
    date, in UTC.

    Raises:
        ValueError: There are no times, or a line is wrong. A line is wrong if it has no valid time,
            if its time is earlier than the time above it, if it has a date but the lines above have
            seconds (or the reverse), or if it has a key but the lines above have none (or the
            reverse). If a line is wrong, the message has its number.
    """
    times: list[float] = []
    keys: list[str | None] = []
    kinds: set[str] = set()
    for number, line in enumerate(lines, 1):
        text = line.removeprefix(BYTE_ORDER_MARK).strip()
        if text:
            kind, time, key = _read_line(text, number)
            kinds.add(kind)
            if len(kinds) > 1:
                raise ValueError(f"line {number}: {text!r} is {kind}, unlike the lines above")
            if keys and (key is None) != (keys[0] is None):
                has = "has no key after a tab" if key is None else "has a key after a tab"
                raise ValueError(f"line {number}: {text!r} {has}, unlike the lines above")
            if times and time < times[-1]:
                raise ValueError(f"line {number}: {text!r} is earlier than the line above")
            times.append(time)
            keys.append(key)
    if not times:
        raise ValueError("there are no arrivals")
    began = datetime.fromtimestamp(times[0], UTC) if DATE in kinds else None
    return Traffic([time - times[0] for time in times], began, None if None in keys else keys)


def model_arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """Return the arrival times of a Poisson process; the same seed gives the same times.

    Raises:
        ValueError: The expected number of arrivals is greater than ``MOST_ITEMS``, or there are no
            arrivals.
    """
    if rate * seconds > MOST_ITEMS:
        raise ValueError(
            f"there must be at most {MOST_ITEMS} items, not about {rate * seconds:.0f}"
        )
    times = list(takewhile(lambda time: time < seconds, _poisson(rate, Random(seed))))
    if not times:
        raise ValueError("there are no arrivals: the rate or the number of seconds is too small")
    return times


def model_partitions(items: int, partitions: int, skew: float, seed: int) -> list[int]:
    """Draw a partition for each item, by Zipf's law; the same seed gives the same partitions.

    The partitions are 1, 2, 3 and so on. The probability of partition k is the probability of
    partition 1, divided by ``k ** skew``.
    """
    random = Random(f"the partitions of {seed}")  # independent of the arrivals
    shares = [*accumulate(rank**-skew for rank in range(1, partitions + 1))]
    return random.choices(range(1, partitions + 1), cum_weights=shares, k=items)


def model_weights(items: int, mean: float, seed: int) -> list[float]:
    """Draw a weight for each item; the same seed gives the same weights.

    All weights from 0 to twice the mean are equally likely.
    """
    random = Random(f"the weights of {seed}")  # independent of the arrivals
    return [random.uniform(0, 2 * mean) for _ in range(items)]


def _poisson(rate: float, random: Random) -> Iterable[float]:
    time = 0.0
    while True:
        time += random.expovariate(rate)
        yield time


def _read_line(text: str, number: int) -> tuple[str, float, str | None]:
    """Return the kind of the time in a line, the time in seconds, and the key (None: no key)."""
    moment, tab, key = text.partition("\t")
    kind, time = _read_time(moment.rstrip(), number)
    return kind, time, key.lstrip() if tab else None


def _read_time(text: str, number: int) -> tuple[str, float]:
    """Return the kind of a time, and the time in seconds (a date: in seconds since the Unix epoch).

    The kind is a text for messages: "a number of seconds" or :data:`DATE`.
    """
    for kind, read in (("a number of seconds", float), (DATE, _read_date)):
        try:
            time = read(text)
        except ValueError:
            continue
        if abs(time) < float("inf"):
            return kind, time
    raise ValueError(f"line {number}: {text!r} must be seconds or an ISO 8601 time")


def _read_date(text: str) -> float:
    date = datetime.fromisoformat(text)
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
