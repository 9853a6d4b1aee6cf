"""In every interleaving of small cases the core does what a plain model does.

`tests.enumeration` says what a setup and a script is, and how to play more of them or one again.
"""

from collections.abc import Callable, Iterable

import pytest

from tests.core_sessions.sabotages import SABOTAGES
from tests.enumeration.play import TinyPlay
from tests.enumeration.sabotages import THROTTLE_SABOTAGES
from tests.enumeration.scripts import Played, play_all, play_setup, report, scripts
from tests.enumeration.setups import Setup, bounded, merging, setups, throttled


def check(played: Iterable[Played], *, least: int) -> None:
    """All scripts keep the contract, and there are so many."""
    count = 0
    for setup, played_here, failed in played:
        count += played_here
        assert not failed, report(setup, failed[0])
    assert least <= count


def test_short_scripts_keep_the_contract() -> None:
    """After any action, any two from an empty queue, the core and its model agree."""
    depths = 2, 1
    numbers = range(len(list(setups(*depths))))
    check((play_setup((depths, number)) for number in numbers), least=850)


@pytest.mark.long
def test_all_scripts_keep_the_contract() -> None:
    """After any two actions in any order, four from an empty queue, core and model agree.

    ``python -m tests.enumeration`` goes deeper, which takes hundreds of times as long.
    """
    check(play_all((4, 2), processes=2), least=22_000)


def test_no_script_and_no_setup_is_played_twice() -> None:
    """The setups differ, and the scripts of each."""
    found = list(setups(2, 1))
    assert len(found) == len({repr(setup) for setup in found})
    for setup in found:
        paths = [path for path, _ in scripts(setup)]
        assert len(paths) == len(set(paths))


def test_a_full_queue_is_full() -> None:
    """Where scripts begin with a full queue all that may run does, and a producer waits in line.

    Nobody does if the item that comes is a duplicate, or displaces one.
    """
    for setup in filter(lambda setup: setup.depth, setups(0, 1)):
        stats = TinyPlay(setup).driver.stats()
        must_wait = setup.limits.when_full == "wait" and not setup.limits.dedupe
        waiting = must_wait and setup.prologue[-2] != "leave"
        assert setup.limits.max_queue_size == stats.pending
        assert waiting == stats.waiting
        assert 0 < stats.in_flight


OF_BOUNDS = [
    "a light item overtakes the line",
    "reserved weight is ignored",
    "weight is no pressure",
    "a full queue that displaces is no pressure",
    "the policy is not asked after a correction",
]
OF_MERGING = [
    "items are not merged",
    "a merged item keeps its old weight",
    "a merge needs no room",
    "the weight that the policy knows is not corrected",
]
OF_THROTTLES = [
    "the throttle is ignored",
    "the throttle is not told of ends",
    "retries do not wait",
    "a hold holds one flush alone",
    "no timer is set for the next call",
    *THROTTLE_SABOTAGES,
]


@pytest.mark.parametrize(
    ("what", "setups_of"),
    [
        *((what, bounded) for what in OF_BOUNDS),
        *((what, merging) for what in OF_MERGING),
        *((what, throttled) for what in OF_THROTTLES),
    ],
)
def test_a_broken_rule_is_found(
    what: str,
    setups_of: Callable[[int, int], Iterable[Setup]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A rule of bounds, of merging, or of throttles is broken in one of the setups for it."""
    owner, name, replacement = (SABOTAGES | THROTTLE_SABOTAGES)[what]
    monkeypatch.setattr(owner, name, replacement)
    assert any(map(_finds_fault, sorted(setups_of(2, 2), key=lambda setup: setup.depth)))


def _finds_fault(setup: Setup) -> bool:
    """Whether a script finds that a rule is broken, or cannot be played for that."""
    try:
        return any(history.complaints for _, history in scripts(setup))
    except LookupError:
        return True
