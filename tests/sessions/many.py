"""Play many seeds, in several processes."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

from tests.core_sessions import session as core
from tests.processes import spread
from tests.sessions import batched, session
from tests.sessions.history import History

CHUNK = 250

KINDS: dict[str, Callable[[int], History]] = {
    "queue": session.play,
    "batched": batched.play,
    "core": core.play,
}


def failing(task: tuple[str, Sequence[int]]) -> list[int]:
    """Return the seeds whose sessions of this kind break the contract."""
    kind, seeds = task
    return [seed for seed in seeds if KINDS[kind](seed).complaints]


def all_failing(seeds: range, processes: int, kind: str = "queue") -> Iterator[int]:
    """Yield the seeds whose sessions break the contract, found by several processes."""
    chunks = [(kind, seeds[start : start + CHUNK]) for start in range(0, len(seeds), CHUNK)]
    yield from chain.from_iterable(spread(failing, chunks, processes))


def report(seed: int, kind: str = "queue") -> tuple[list[str], str]:
    """Play one seed; return its complaints, and a text with its history and complaints."""
    history = KINDS[kind](seed)
    text = [f"seed {seed}", "", *history.lines(), "", *history.complaints]
    return history.complaints, "\n".join(text)
