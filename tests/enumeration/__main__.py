"""Play all scripts of the tiny queues, or one again: ``python -m tests.enumeration --help``."""

import argparse
import gc
import multiprocessing
import sys
import time
import warnings

import attrs

from tests.enumeration.scripts import Path, replay, scripts
from tests.enumeration.setups import Setup, setups

MOST_REPORTS = 5


@attrs.frozen
class Played:
    """What became of the scripts of one setup.

    Attributes:
        number: The number of the setup.
        scripts: How many scripts there are.
        histories: A number for each history that differs from the others.
        failed: The paths of those that broke the contract.
    """

    number: int
    scripts: int
    histories: frozenset[int]
    failed: tuple[Path, ...]


def play_setup(numbered: tuple[int, Setup]) -> Played:
    """Play all scripts of a setup."""
    number, setup = numbered
    count, histories, failed = 0, set(), []
    for script in scripts(setup):
        count += 1
        histories.add(script.history.fingerprint())
        if script.history.complaints:
            failed.append(script.path)
    return Played(number, count, frozenset(histories), tuple(failed))


def play_all(fresh: int, full: int, jobs: int) -> list[Played]:
    """Play all scripts of all setups, the largest first."""
    numbered = list(enumerate(setups(fresh, full)))
    numbered.sort(key=lambda each: -each[1].producers)
    with multiprocessing.get_context("spawn").Pool(jobs, _prepare) as pool:
        return list(pool.imap_unordered(play_setup, numbered))


def report(fresh: int, full: int, number: int, path: Path) -> str:
    """Play one script again, and tell all about it."""
    setup = list(setups(fresh, full))[number]
    history = replay(setup, path)
    name = f"--setup {number} --script {'.'.join(map(str, path))}"
    return "\n".join([name, f"{setup}", "", *history.lines(), "", *history.complaints])


def main() -> int:
    """Play what the command line asks for, and return 1 if something broke the contract."""
    arguments = _arguments()
    depths = arguments.fresh, arguments.full
    if arguments.script is not None:
        path = tuple(map(int, arguments.script.split(".")))
        _say(report(*depths, arguments.setup, path))
        return 0
    started = time.monotonic()
    played = play_all(*depths, arguments.jobs)
    failed = [(each.number, path) for each in played for path in each.failed]
    for number, path in failed[:MOST_REPORTS]:
        _say(report(*depths, number, path))
    count = sum(each.scripts for each in played)
    histories = frozenset().union(*(each.histories for each in played))
    _say(f"{count} scripts of {len(played)} setups, {len(histories)} different histories")
    _say(f"{len(failed)} broke the contract; {time.monotonic() - started:.1f} s")
    return 1 if failed else 0


def _prepare() -> None:
    """Make a process strict, and a little faster."""
    warnings.simplefilter("error")
    gc.set_threshold(50_000)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.enumeration", description=__doc__)
    parser.add_argument("--fresh", type=int, default=5, help="the depth from an empty queue")
    parser.add_argument("--full", type=int, default=4, help="the depth from a full queue")
    parser.add_argument("--jobs", type=int, default=2, help="how many processes to use")
    parser.add_argument("--setup", type=int, default=0, help="the number of a setup")
    parser.add_argument("--script", help="play this script of the setup alone: 0.2.1, say")
    return parser.parse_args()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
