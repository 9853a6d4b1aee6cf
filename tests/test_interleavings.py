"""In every interleaving of small cases the core does the same as a plain model.

`tests.enumeration` explains setups and scripts, and how to play more scripts or replay one.
"""

from collections.abc import Callable, Iterable

import pytest

from tests.core_sessions.sabotages import SABOTAGES
from tests.enumeration.play import TinyPlay
from tests.enumeration.sabotages import THROTTLE_SABOTAGES
from tests.enumeration.scripts import Played, play_all, play_setup, report, scripts
from tests.enumeration.setups import Setup, bounded, merging, setups, throttled


def check(played: Iterable[Played], *, least: int) -> None:
    """Check that all scripts keep the contract, and that there are at least ``least``."""
    count = 0
    for setup, played_here, failed in played:
        count += played_here
        assert not failed, report(setup, failed[0])
    assert least <= count


def test_short_scripts_keep_the_contract() -> None:
    """After any action, and after any two from an empty queue, the core and its model agree."""
    depths = 2, 1
    numbers = range(len(list(setups(*depths))))
    check((play_setup((depths, number)) for number in numbers), least=850)


@pytest.mark.long
def test_all_scripts_keep_the_contract() -> None:
    """After any two actions, and after any four from an empty queue, core and model agree.

    ``python -m tests.enumeration`` plays longer scripts, which takes hundreds of times as long.
    """
    check(play_all((4, 2), processes=2), least=22_000)


def test_no_script_and_no_setup_is_played_twice() -> None:
    """All setups differ, and so do all scripts of each setup."""
    found = list(setups(2, 1))
    assert len(found) == len({repr(setup) for setup in found})
    for setup in found:
        paths = [path for path, _ in scripts(setup)]
        assert len(paths) == len(set(paths))


def test_a_full_queue_is_full() -> None:
    """If scripts begin with a full queue, flushes run and a producer waits in line.

    No producer waits if its item is a duplicate, or displaces another item.
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
    "calls set no timer",
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
    """A broken rule of bounds, merging or throttles is found by one of the setups for it."""
    owner, name, replacement = (SABOTAGES | THROTTLE_SABOTAGES)[what]
    monkeypatch.setattr(owner, name, replacement)
    assert any(map(_finds_fault, sorted(setups_of(2, 2), key=lambda setup: setup.depth)))


def _finds_fault(setup: Setup) -> bool:
    """Return whether a script finds the broken rule, or cannot be played because of it."""
    try:
        return any(history.complaints for _, history in scripts(setup))
    except LookupError:
        return True
