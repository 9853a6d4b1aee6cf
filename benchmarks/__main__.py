"""``python -m benchmarks [ROW ...]``: what an item costs, beside the floor and beside the peers.

Every ratio is measured side by side: in each round the candidates of a row take turns, each time in
a process of their own, so that a machine whose speed drifts slows down all of them alike. A ratio
is taken within its round, and the table shows the median over the rounds. Bars are what must
hold: if one is missed, or cannot be measured although what it needs is there, the exit code is 1.
Peers are installed into a folder under the user's cache; one that cannot be is reported as missing.
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
    "The floor is what must be paid in any case: an append to a list, a future for an answer. "
    "A bar is what must hold: ok, or MISSED, which is exit code 1. "
    "A goal, where there is one, is what ought to hold. "
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and return the exit code."""
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
    """Measure the rows, keep them in the run, and say the table, row by row."""
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
        description="What an item costs, beside the floor and beside the peers.",
        epilog=f"{TERMS}Rows: {', '.join(row.name for row in ROWS)}.",
    )
    add = parser.add_argument
    add("rows", nargs="*", metavar="ROW", type=_row, help="measure only these rows")
    add("--rounds", type=_count, default=ROUNDS, metavar="N", help="the most rounds (%(default)s)")
    add("--loop", choices=LOOPS, default=LOOPS[0], help="the event loop (%(default)s)")
    add("--save", type=_target, metavar="FILE.json", help="keep what was measured")
    add("--compare", type=_run, metavar="FILE.json", help="show what has changed since")
    options = parser.parse_args(arguments)
    if importlib.util.find_spec(options.loop) is None:
        parser.error(f"{options.loop} is not installed: pip install '.[bench]'")
    return options


def _row(name: str) -> Row:
    for row in ROWS:
        if row.name == name:
            return row
    raise argparse.ArgumentTypeError(f"there is no row {name!r}")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of rounds")
    return int(text)


def _target(text: str) -> Path:
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"cannot write {text!r}: it is a folder")
    if not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"cannot write {text!r}: there is no such folder")
    return path


def _run(path: str) -> Run:
    try:
        return load(Path(path))
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
