"""All scripts of a setup, one after the other.

Each script is a path in a tree: at every level one of the actions that are possible there. The tree
is walked in order, and every path is played from the start, since a queue cannot be put back.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

import attrs

from flushq import QueueStats
from tests.enumeration.core import CorePlay
from tests.enumeration.play import Play
from tests.enumeration.setups import Setup, setups, setups_of_core
from tests.sessions.history import History

Path = tuple[int, ...]


class ScriptPlay(Protocol):
    """A tiny queue that is played action by action.

    Attributes:
        history: What happened.
    """

    history: History

    def stats(self) -> QueueStats:
        """The account of the queue."""

    def actions(self) -> list[str]:
        """The actions that are possible now and change something."""

    def take(self, action: str, *, again: bool = False) -> bool:
        """Take one; return whether it was a step after which everything is settled.

        ``again`` says that another script has done the same up to here, and was judged.
        """

    def is_vain(self, action: str, last: str, left: int) -> bool:
        """Whether other scripts do the same, when so many actions are left."""

    def finish(self) -> None:
        """Bring whatever is left to its end, and judge."""


@attrs.frozen
class Kind:
    """What scripts are played on.

    Attributes:
        setups: Its setups, of these depths.
        play: Plays one script of a setup.
    """

    setups: Callable[[int, int], Iterator[Setup]]
    play: Callable[[Setup], AbstractContextManager[ScriptPlay]]


KINDS = {"core": Kind(setups_of_core, CorePlay), "loop": Kind(setups, Play)}


@attrs.frozen
class Script:
    """A script that was played.

    Attributes:
        path: Which of the possible actions was taken, level by level.
        history: What happened.
    """

    path: Path
    history: History


def scripts(setup: Setup, kind: str) -> Iterator[Script]:
    """Play all scripts of a setup, on a loop or on the core."""
    path: Path | None = ()
    while path is not None:
        walk = _Walk()
        with KINDS[kind].play(setup) as play:
            _follow(play, walk, path, setup.depth)
            play.finish()
        yield Script(walk.path, play.history)
        path = walk.next_path()


def replay(setup: Setup, path: Path, kind: str) -> History:
    """Play one script again."""
    with KINDS[kind].play(setup) as play:
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


def _follow(play: ScriptPlay, walk: _Walk, path: Path, depth: int) -> None:
    """Take the path, and the first action at each level beyond it."""
    last = ""
    while len(walk.path) < depth:
        level = len(walk.path)
        actions = [each for each in play.actions() if not play.is_vain(each, last, depth - level)]
        if not actions:
            break
        choice = path[level] if level < len(path) else 0
        last = actions[choice]
        has_settled = play.take(last, again=level < len(path) - 1)
        walk.path += (choice,)
        walk.nexts.append(choice + 1)
        if has_settled and actions[choice + 1 :][:1] == ["settle"]:
            walk.nexts[-1] += 1
        walk.widths.append(len(actions))
