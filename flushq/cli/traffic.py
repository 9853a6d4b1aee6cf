"""The traffic of the lab, from a file or a model: times, partitions, weights."""

from collections.abc import Hashable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import accumulate, takewhile
from random import Random
from typing import NamedTuple

MOST_ITEMS = 10_000_000
BYTE_ORDER_MARK = "\ufeff"
DATE = "an ISO 8601 time"


class Traffic(NamedTuple):
    """What arrives.

    Attributes:
        arrivals: When the items arrive, in seconds; at least one.
        began: The date of second 0. None: the traffic has no dates.
        partitions: The key of the partition of each item. None: there are no partitions.
        weights: The weight of each item. None: none weighs anything.
    """

    arrivals: Sequence[float]
    began: datetime | None = None
    partitions: Sequence[Hashable] | None = None
    weights: Sequence[float] | None = None


def read_traffic(lines: Iterable[str]) -> Traffic:
    """Read the time in each line: seconds, or ISO 8601 (of UTC unless it says otherwise).

    What follows after a tab is the key of the partition. Empty lines are left out. The result is in
    seconds since the first time, with the date of that time, in UTC, if it has one.

    Raises:
        ValueError: A line is not a time, or of another kind than those above, or earlier, or has a
            key where others have none; the message has its number. Or there are no times.
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
                raise ValueError(f"line {number}: {text!r} is {kind}, unlike what is above")
            if keys and (key is None) != (keys[0] is None):
                has = "has no key" if key is None else "has a key"
                raise ValueError(f"line {number}: {text!r} {has} after a tab, unlike those above")
            if times and time < times[-1]:
                raise ValueError(f"line {number}: {text!r} is earlier than what is above")
            times.append(time)
            keys.append(key)
    if not times:
        raise ValueError("there are no arrivals")
    began = datetime.fromtimestamp(times[0], UTC) if DATE in kinds else None
    return Traffic([time - times[0] for time in times], began, None if None in keys else keys)


def model_arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """Draw a Poisson process: so many items a second on average, for so long; always the same.

    Raises:
        ValueError: These are too many, or there are none.
    """
    if rate * seconds > MOST_ITEMS:
        raise ValueError(f"about {rate * seconds:.0f} items are more than {MOST_ITEMS}")
    times = list(takewhile(lambda time: time < seconds, _poisson(rate, Random(seed))))
    if not times:
        raise ValueError("there are no arrivals")
    return times


def model_partitions(items: int, partitions: int, skew: float, seed: int) -> list[int]:
    """Draw a partition for each item, by Zipf's law; always the same.

    The first partition is 1, and the k-th comes ``k ** skew`` times less often.
    """
    random = Random(f"the partitions of {seed}")  # other numbers than those of the arrivals
    shares = [*accumulate(rank**-skew for rank in range(1, partitions + 1))]
    return random.choices(range(1, partitions + 1), cum_weights=shares, k=items)


def model_weights(items: int, mean: float, seed: int) -> list[float]:
    """Draw a weight for each item; always the same.

    All weights from 0 to twice the mean are equally likely.
    """
    random = Random(f"the weights of {seed}")  # other numbers than those of the arrivals
    return [random.uniform(0, 2 * mean) for _ in range(items)]


def _poisson(rate: float, random: Random) -> Iterable[float]:
    time = 0.0
    while True:
        time += random.expovariate(rate)
        yield time


def _read_line(text: str, number: int) -> tuple[str, float, str | None]:
    """Return the kind of time in a text, the time, and the key, if there is one."""
    moment, tab, key = text.partition("\t")
    kind, time = _read_time(moment.rstrip(), number)
    return kind, time, key.lstrip() if tab else None


def _read_time(text: str, number: int) -> tuple[str, float]:
    """Return the kind of time that a text is, and the time."""
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
