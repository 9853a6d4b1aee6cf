"""``python -m benchmarks [ROW ...]``: the cost of an item, compared with the floor and with peers.

The floor is the cost that no queue can avoid. A peer is another package that does similar work. A
row of the table is about one kind of work. A candidate is a function that does this work and
measures it: with this queue, with a peer, or without any queue.

The candidates of a row are measured side by side: in each round, each candidate runs once, in a new
process. So if the machine becomes slower, all candidates become slower alike. A figure is a number
that is computed within each round; mostly it is a ratio between two candidates. The table shows the
median of a figure over the rounds. A bar is a limit that must hold: if a figure misses its bar, or
one of its candidates fails, the exit code is 1. Peers are installed into a folder in the cache of
the user. If a peer cannot be installed, the figures that need it are missing; this does not change
the exit code.
"""

import argparse
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks import report
from benchmarks.figures import Finding, find
from benchmarks.launch import launch
from benchmarks.rounds import Rounds
from benchmarks.rows import ROUNDS, ROWS, Row
from benchmarks.saved import Conditions, Run, load

LOOPS = ("asyncio", "uvloop")
TERMS = (
    "The floor is the cost that no queue can avoid: an append to a list, or a future per answer. "
    "A bar is a limit that must hold: the verdict on a figure is ok or MISSED. "
    "A goal is a stricter limit that should hold: if it does, the verdict is goal. "
    "If a figure is MISSED, or FAILED because a candidate gave no number, the exit code is 1. "
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the rows, print the table, and return the exit code."""
    options = _options(arguments)
    run = Run(Conditions.here(options.loop))
    print(run.conditions)
    if options.compare:
        print(f"compared with {options.compare.conditions}")
    rounds = Rounds(
        lambda path, home, extra: launch(path, home, options.loop, extra), options.rounds
    )
    findings = tabulate(options.rows or ROWS, rounds, run, options.compare, print)
    if options.save:
        run.save(options.save)
    return 0 if all(finding.holds for finding in findings) else 1


def tabulate(
    rows: Sequence[Row], rounds: Rounds, run: Run, before: Run | None, say: Callable[[str], None]
) -> list[Finding]:
    """Measure each row, add its results to ``run``, and print its part of the table by ``say``."""
    everything: list[Finding] = []
    say(report.heading())
    for row in rows:
        measured = rounds.measure(row)
        findings = [find(figure, measured) for figure in row.figures]
        run.add(row.name, measured, findings)
        everything += findings
        values: Mapping[str, float] = before.values.get(row.name, {}) if before else {}
        say("\n".join(report.lines(row, measured, findings, values)))
    say(report.summary(everything))
    return everything


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure what an item costs, compared with the floor and with other packages.",
        epilog=f"{TERMS}Rows: {', '.join(row.name for row in ROWS)}.",
    )
    add = parser.add_argument
    add("rows", nargs="*", metavar="ROW", type=_row, help="measure only these rows")
    default = "default: %(default)s"
    add("--rounds", type=_count, default=ROUNDS, metavar="N", help=f"at most N rounds ({default})")
    add("--loop", choices=LOOPS, default=LOOPS[0], help=f"the event loop ({default})")
    add("--save", type=_target, metavar="FILE.json", help="save the measurements in this file")
    add("--compare", type=_run, metavar="FILE.json", help="compare with a file that --save wrote")
    options = parser.parse_args(arguments)
    if importlib.util.find_spec(options.loop) is None:
        parser.error(f"{options.loop} is not installed: pip install '.[bench]'")
    return options


def _row(name: str) -> Row:
    for row in ROWS:
        if row.name == name:
            return row
    raise argparse.ArgumentTypeError(f"ROW must be a row that --help lists, not {name!r}")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"N must be an int of at least 1, not {text!r}")
    return int(text)


def _target(text: str) -> Path:
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"cannot write {text!r}: it is a folder")
    if not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"cannot write {text!r}: its folder does not exist")
    return path


def _run(path: str) -> Run:
    try:
        return load(Path(path))
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
