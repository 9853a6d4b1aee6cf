"""Play many seeds, or one of them again: ``python -m tests.sessions --help``."""

import argparse
import gc
import itertools
import multiprocessing
import sys
import time
import warnings
from collections.abc import Iterator, Sequence

from tests.sessions.session import play, report

CHUNK = 250
MOST_REPORTS = 5


def main() -> int:
    """Play what the command line asks for, and return 1 if something broke the contract."""
    arguments = _arguments()
    if arguments.seed is not None:
        complaints, text = report(arguments.seed)
        _say(text)
        return 1 if complaints else 0
    return _play_many(range(arguments.first, arguments.first + arguments.seeds), arguments.jobs)


def failing(seeds: Sequence[int]) -> list[int]:
    """Return those of the seeds whose session broke the contract."""
    return [seed for seed in seeds if play(seed).complaints]


def _play_many(seeds: range, jobs: int) -> int:
    started, failed = time.monotonic(), 0
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    with multiprocessing.get_context("spawn").Pool(jobs, _prepare) as pool:
        for seed in itertools.chain.from_iterable(pool.imap(failing, chunks)):
            failed += 1
            _say(report(seed)[1] if failed <= MOST_REPORTS else f"seed {seed} too")
    seconds = time.monotonic() - started
    _say(f"{len(seeds)} sessions from seed {seeds.start} on, {failed} of them broke the contract")
    _say(f"{seconds:.1f} s, {len(seeds) / seconds:.0f} sessions a second, {jobs} jobs")
    return 1 if failed else 0


def _prepare() -> None:
    """Make a process strict, and a little faster."""
    warnings.simplefilter("error")
    gc.set_threshold(50_000)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sessions", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10_000, help="how many seeds to play")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--jobs", type=int, default=2, help="how many processes to use")
    parser.add_argument("--seed", type=int, help="play this one alone, and print its history")
    return parser.parse_args()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
