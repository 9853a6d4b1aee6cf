"""Play many seeds, or one of them again: ``python -m tests.sessions --help``."""

import argparse
import itertools
import multiprocessing
import sys
import time
import warnings
from collections.abc import Iterable

from tests.sessions.configuration import configuration
from tests.sessions.session import play

CHUNK = 500


def main() -> int:
    """Play what the command line asks for, and return 1 if something broke the contract."""
    arguments = _arguments()
    warnings.simplefilter("error")
    if arguments.seed is not None:
        return _replay(arguments.seed)
    return _play_many(arguments.first, arguments.seeds, arguments.jobs)


def failing(seeds: Iterable[int]) -> list[int]:
    """Return those of the seeds whose session broke the contract."""
    return [seed for seed in seeds if play(seed).complaints]


def report(seed: int) -> str:
    """Play one seed and tell all about it: its configuration, its history, what was wrong."""
    history = play(seed)
    return "\n".join([f"{configuration(seed)}", "", *history.lines(), "", *history.complaints])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sessions", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10_000, help="how many seeds to play")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--jobs", type=int, default=2, help="how many processes to use")
    parser.add_argument("--seed", type=int, help="replay this one and print its history")
    return parser.parse_args()


def _replay(seed: int) -> int:
    _say(report(seed))
    return 1 if play(seed).complaints else 0


def _play_many(first: int, count: int, jobs: int) -> int:
    started, failed, played = time.monotonic(), [], 0
    chunks = [
        range(start, min(start + CHUNK, first + count))
        for start in range(first, first + count, CHUNK)
    ]
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        for chunk, found in zip(chunks, pool.imap(failing, chunks)):
            played += len(chunk)
            failed += found
            for seed in found[:3]: _say(report(seed))
    seconds = time.monotonic() - started
    _say(f"{played} sessions, {len(failed)} broke the contract, {seconds:.1f} s")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
