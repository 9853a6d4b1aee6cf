"""Every interleaving of small cases keeps the contract, on the core and on a loop.

`tests.enumeration` says what a setup and a script is, and how to play more of them or one again.
"""

from collections.abc import Iterable, Iterator

import pytest

from tests.enumeration.many import Depths, Played, play_all, play_setup, report
from tests.enumeration.scripts import KINDS, scripts


def check(played: Iterable[Played], kind: str, *, least: int) -> None:
    """All scripts keep the contract, and there are so many."""
    count = 0
    for each in played:
        count += each.scripts
        assert not each.failed, report(each.setup, each.failed[0], kind)
    assert least <= count


def played(kind: str, depths: Depths) -> Iterator[Played]:
    """Play all scripts in this process."""
    numbers = range(len(list(KINDS[kind].setups(depths.fresh, depths.full))))
    return (play_setup((depths, number, kind)) for number in numbers)


def test_short_scripts_keep_the_contract_on_the_core() -> None:
    """After any two actions in any order the core and its model agree."""
    check(played("core", Depths(fresh=2, full=2)), "core", least=4_000)


def test_short_scripts_keep_the_contract_on_a_loop() -> None:
    """After any action, two from an empty queue, the contract holds."""
    check(played("loop", Depths(fresh=2, full=1)), "loop", least=400)


PARTS = 3


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
def test_all_scripts_keep_the_contract_on_the_core(part: int) -> None:
    """After any four actions in any order, five from an empty queue, core and model agree."""
    depths = Depths(fresh=5, full=4)
    scripts = play_all(depths, processes=2, kind="core", part=slice(part, None, PARTS))
    check(scripts, "core", least=150_000)


@pytest.mark.long
def test_all_scripts_keep_the_contract_on_a_loop() -> None:
    """After any three actions in any order, four from an empty queue, the contract holds."""
    check(play_all(Depths(fresh=4, full=3), processes=2, kind="loop"), "loop", least=40_000)


@pytest.mark.parametrize("kind", KINDS)
def test_no_script_is_played_twice(kind: str) -> None:
    """The scripts of a setup differ."""
    for setup in KINDS[kind].setups(2, 1):
        paths = [script.path for script in scripts(setup, kind)]
        assert len(paths) == len(set(paths))


@pytest.mark.parametrize("kind", KINDS)
def test_setups_differ(kind: str) -> None:
    """No setup is played twice."""
    found = list(KINDS[kind].setups(2, 2))
    assert len(found) == len({repr(setup) for setup in found})


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_queue_is_full(kind: str) -> None:
    """Where scripts begin with a full queue all slots are taken, and a producer waits in line."""
    full = [setup for setup in KINDS[kind].setups(0, 1) if setup.depth]
    for setup in full:
        with KINDS[kind].play(setup) as play:
            stats = play.stats()
            waiting = setup.prologue[-2] != "leave" and not setup.limits.dedupe
            assert setup.limits.max_queue_size == stats.pending
            assert waiting == stats.waiting
            assert 0 < stats.in_flight
            play.finish()
        assert [] == play.history.complaints
