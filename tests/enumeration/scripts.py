"""All scripts of a setup, one after the other.

Each script is a path in a tree: at every level one of the actions that are possible there. The tree
is walked in order, and every path is played from the start, since a queue cannot be put back.
"""

from collections.abc import Iterator

import attrs

from tests.enumeration.play import Play
from tests.enumeration.setups import Setup
from tests.sessions.history import History

Path = tuple[int, ...]


@attrs.frozen
class Script:
    """A script that was played.

    Attributes:
        path: Which of the possible actions was taken, level by level.
        history: What happened.
    """

    path: Path
    history: History


def scripts(setup: Setup) -> Iterator[Script]:
    """Play all scripts of a setup."""
    path: Path | None = ()
    while path is not None:
        walk = _Walk()
        with Play(setup) as play:
            _follow(play, walk, path, setup.depth)
            play.finish()
        yield Script(walk.path, play.history)
        path = walk.next_path()


def replay(setup: Setup, path: Path) -> History:
    """Play one script again."""
    with Play(setup) as play:
        _follow(play, _Walk(), path, len(path))
        play.finish()
    return play.history


@attrs.define
class _Walk:
    """Where a path went: the choices, and which choice is next and how many there are, by level."""

    path: Path = ()
    nexts: list[int] = attrs.field(factory=list)
    widths: list[int] = attrs.field(factory=list)

    def next_path(self) -> Path | None:
        """The next path in order."""
        level = len(self.path)
        while level and self.nexts[level - 1] >= self.widths[level - 1]:
            level -= 1
        return (*self.path[: level - 1], self.nexts[level - 1]) if level else None


def _follow(play: Play, walk: _Walk, path: Path, depth: int) -> None:
    """Take the path, and the first action at each level beyond it."""
    last = ""
    while len(walk.path) < depth:
        level = len(walk.path)
        actions = [each for each in play.actions() if not _is_vain(each, last, depth - level)]
        if not actions:
            break
        choice = path[level] if level < len(path) else 0
        last = actions[choice]
        has_settled = play.act(last)
        walk.path += (choice,)
        walk.nexts.append(choice + 1)
        if has_settled and actions[choice + 1 :][:1] == ["settle"]:
            walk.nexts[-1] += 1
        walk.widths.append(len(actions))


def _is_vain(action: str, last: str, left: int) -> bool:
    """Whether other scripts do the same: before the end all settles, and so it does in steps."""
    return (action == "step" and left == 1) or (action == "settle" and last == "step")
