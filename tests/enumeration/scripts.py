"""All scripts of one setup, and of all setups.

Each script is a path in a tree: at every level it takes one of the actions possible there. The
tree is walked in order, and every path is played from the start, since a queue cannot go back.
"""

from collections.abc import Iterator

import attrs

from tests.enumeration.play import TinyPlay
from tests.enumeration.setups import Setup, setups
from tests.processes import spread
from tests.sessions.history import History

Path = tuple[int, ...]
"""The index of the action that is taken at each level, among the possible ones."""

Depths = tuple[int, int]
"""The numbers of actions of a script: from an empty queue, and from a full one."""

Played = tuple[int, int, list[Path]]
"""The number of a setup, the number of its scripts, and the paths of those that failed."""


def play_all(depths: Depths, processes: int) -> Iterator[Played]:
    """Play all scripts of all setups; yield the result of each setup."""
    numbers = range(len(list(setups(*depths))))
    yield from spread(play_setup, [(depths, number) for number in numbers], processes)


def play_setup(task: tuple[Depths, int]) -> Played:
    """Play all scripts of the setup with this number, and return the result."""
    depths, number = task
    setup = list(setups(*depths))[number]
    played = [(path, history.complaints) for path, history in scripts(setup)]
    return number, len(played), [path for path, complaints in played if complaints]


def report(number: int, path: Path) -> str:
    """Play one script again, and return its history and complaints."""
    setup = list(setups(len(path), len(path)))[number]
    history = _follow(setup, _Walk(), path, len(path))
    name = f"--setup {number} --script {'.'.join(map(str, path))}"
    return "\n".join([name, f"{setup}", "", *history.lines(), "", *history.complaints])


def scripts(setup: Setup) -> Iterator[tuple[Path, History]]:
    """Play all scripts of a setup; yield the path and the history of each."""
    path: Path | None = ()
    while path is not None:
        walk = _Walk()
        history = _follow(setup, walk, path, setup.depth)
        yield walk.path, history
        path = walk.next_path()


@attrs.define
class _Walk:
    """A path that was taken: the choices, and the number of possible actions at each level."""

    path: Path = ()
    widths: list[int] = attrs.field(factory=list)

    def next_path(self) -> Path | None:
        """Return the next path in order, or None after the last one."""
        level = len(self.path)
        while level and self.path[level - 1] + 1 >= self.widths[level - 1]:
            level -= 1
        return (*self.path[: level - 1], self.path[level - 1] + 1) if level else None


def _follow(setup: Setup, walk: _Walk, path: Path, depth: int) -> History:
    """Play the path, then the first action at each further level, and return the history."""
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
