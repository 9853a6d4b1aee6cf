"""Play all scripts of the tiny queues, or one script: ``python -m tests.enumeration --help``."""

import argparse
import sys
import time

from tests.enumeration.scripts import Depths, play_all, report

MOST_REPORTS = 5


def main() -> int:
    """Play what the command line names; return 1 if a script broke the contract, else 0."""
    arguments = _arguments()
    if arguments.script is not None:
        path = tuple(map(int, arguments.script.split(".")))
        _say(report(arguments.setup, path))
        return 0
    return _play_all((arguments.fresh, arguments.full), arguments.jobs)


def _play_all(depths: Depths, jobs: int) -> int:
    started, count, failed = time.monotonic(), 0, 0
    for setup, scripts, paths in play_all(depths, jobs):
        count += scripts
        for path in paths:
            failed += 1
            if failed <= MOST_REPORTS:
                _say(report(setup, path))
    seconds = time.monotonic() - started
    _say(f"{count} scripts, {failed} broke the contract")
    _say(f"{seconds:.1f} s, {count / seconds:.0f} scripts a second, {jobs} jobs")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.enumeration", description=__doc__)
    parser.add_argument("--fresh", type=int, default=5, help="how many actions from an empty queue")
    parser.add_argument("--full", type=int, default=4, help="how many actions from a full queue")
    parser.add_argument("--jobs", type=int, default=2, help="how many processes to use")
    parser.add_argument("--setup", type=int, default=0, help="the setup of --script")
    parser.add_argument("--script", help="play only this script of the setup, such as 0.2.1")
    return parser.parse_args()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
