"""Play many seeds, or replay one of them: ``python -m tests.sessions --help``."""

import argparse
import sys
import time

from tests.sessions.many import KINDS, all_failing, report

MOST_REPORTS = 5


def main() -> int:
    """Play the seeds that the command line names, and return 1 if one broke the contract."""
    arguments = _arguments()
    if arguments.seed is not None:
        complaints, text = report(arguments.seed, arguments.kind)
        _say(text)
        return 1 if complaints else 0
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    return _play_many(arguments.kind, seeds, arguments.jobs)


def _play_many(kind: str, seeds: range, jobs: int) -> int:
    started, failed = time.monotonic(), 0
    for failed, seed in enumerate(all_failing(seeds, jobs, kind), 1):
        text = f"seed {seed} also broke the contract"
        _say(report(seed, kind)[1] if failed <= MOST_REPORTS else text)
    seconds = time.monotonic() - started
    _say(f"{len(seeds)} sessions, from seed {seeds.start}: {failed} of them broke the contract")
    _say(f"{seconds:.1f} s, {len(seeds) / seconds:.0f} sessions a second, {jobs} jobs")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sessions", description=__doc__)
    parser.add_argument("--kind", choices=list(KINDS), default="queue", help="the kind of session")
    parser.add_argument("--seeds", type=int, default=10_000, help="how many seeds to play")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=2, help="how many processes to use")
    parser.add_argument("--seed", type=int, help="play this seed alone, and print its history")
    return parser.parse_args()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
