"""All scripts of a setup, one after the other, and those of all setups.

Each script is a path in a tree: at every level one of the actions that are possible there. The tree
is walked in order, and every path is played from the start, since a queue cannot be put back.
"""

from collections.abc import Iterator

import attrs

from tests.enumeration.play import TinyPlay
from tests.enumeration.setups import Setup, setups
from tests.processes import spread
from tests.sessions.history import History

Path = tuple[int, ...]
"""Which of the possible actions is taken, level by level."""

Depths = tuple[int, int]
"""How many actions a script has: from an empty queue, and from a full one."""

Played = tuple[int, int, list[Path]]
"""The number of a setup, how many scripts it has, and the paths of those that failed."""


def play_all(depths: Depths, processes: int) -> Iterator[Played]:
    """Play all scripts of all setups."""
    numbers = range(len(list(setups(*depths))))
    yield from spread(play_setup, [(depths, number) for number in numbers], processes)


def play_setup(task: tuple[Depths, int]) -> Played:
    """Play all scripts of the setup with this number."""
    depths, number = task
    setup = list(setups(*depths))[number]
    played = [(path, history.complaints) for path, history in scripts(setup)]
    return number, len(played), [path for path, complaints in played if complaints]


def report(number: int, path: Path) -> str:
    """Play one script again, and tell all about it."""
    setup = list(setups(len(path), len(path)))[number]
    history = _follow(setup, _Walk(), path, len(path))
    name = f"--setup {number} --script {'.'.join(map(str, path))}"
    return "\n".join([name, f"{setup}", "", *history.lines(), "", *history.complaints])


def scripts(setup: Setup) -> Iterator[tuple[Path, History]]:
    """Play all scripts of a setup."""
    path: Path | None = ()
    while path is not None:
        walk = _Walk()
        history = _follow(setup, walk, path, setup.depth)
        yield walk.path, history
        path = walk.next_path()


@attrs.define
class _Walk:
    """Where a path went: the choices, and how many there were, by level."""

    path: Path = ()
    widths: list[int] = attrs.field(factory=list)

    def next_path(self) -> Path | None:
        """The next path in order."""
        level = len(self.path)
        while level and self.path[level - 1] + 1 >= self.widths[level - 1]:
            level -= 1
        return (*self.path[: level - 1], self.path[level - 1] + 1) if level else None


def _follow(setup: Setup, walk: _Walk, path: Path, depth: int) -> History:
    """Take the path, and the first action at each level beyond it."""
    play, last = TinyPlay(setup), ""
    while len(walk.path) < depth:
        level = len(walk.path)
        actions = play.actions(last, depth - level)
        if not actions:
            break
        choice = path[level] if level < len(path) else 0
        last = actions[choice]
        play.take(last, again=level < len(path) - 1)
        walk.path += (choice,)
        walk.widths.append(len(actions))
    play.bring_to_end()
    return play.history
