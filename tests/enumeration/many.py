"""All scripts of all setups."""

from collections.abc import Iterator

import attrs

from tests.enumeration.scripts import KINDS, Path, replay, scripts
from tests.processes import spread

ALL = slice(None)


@attrs.frozen
class Depths:
    """How many actions a script has: from an empty queue, and from a full one."""

    fresh: int
    full: int


@attrs.frozen
class Played:
    """What became of the scripts of one setup.

    Attributes:
        setup: The number of the setup.
        scripts: How many scripts it has.
        histories: A number for each history that differs from its others.
        failed: The paths of those that broke the contract.
    """

    setup: int
    scripts: int
    histories: frozenset[int]
    failed: tuple[Path, ...]


def play_all(depths: Depths, processes: int, kind: str, part: slice = ALL) -> Iterator[Played]:
    """Play all scripts of all setups, or of a part of them."""
    numbers = range(len(list(KINDS[kind].setups(depths.fresh, depths.full))))[part]
    yield from spread(play_setup, [(depths, number, kind) for number in numbers], processes)


def play_setup(task: tuple[Depths, int, str]) -> Played:
    """Play all scripts of the setup with this number, on a loop or on the core."""
    depths, number, kind = task
    setup = list(KINDS[kind].setups(depths.fresh, depths.full))[number]
    count = 0
    histories: set[int] = set()
    failed: list[Path] = []
    for script in scripts(setup, kind):
        count += 1
        histories.add(script.history.fingerprint())
        if script.history.complaints:
            failed.append(script.path)
    return Played(number, count, frozenset(histories), tuple(failed))


def report(number: int, path: Path, kind: str) -> str:
    """Play one script again, and tell all about it."""
    setup = list(KINDS[kind].setups(len(path), len(path)))[number]
    history = replay(setup, path, kind)
    name = f"--kind {kind} --setup {number} --script {'.'.join(map(str, path))}"
    return "\n".join([name, f"{setup}", "", *history.lines(), "", *history.complaints])
