"""Many seeds."""

from collections.abc import Iterator, Sequence
from itertools import chain

from tests.processes import spread
from tests.sessions.session import play

CHUNK = 250


def failing(seeds: Sequence[int]) -> list[int]:
    """Return those of the seeds whose session breaks the contract."""
    return [seed for seed in seeds if play(seed).complaints]


def all_failing(seeds: range, processes: int) -> Iterator[int]:
    """Yield the same, found by several processes."""
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    yield from chain.from_iterable(spread(failing, chunks, processes))
