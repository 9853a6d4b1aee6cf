"""Every interleaving of small cases keeps the contract.

`tests.enumeration` says what a setup and a script is, and how to play more of them or one again.
"""

from collections.abc import Iterable

import pytest

from tests.enumeration.many import Depths, Played, play_all, play_setup, report
from tests.enumeration.play import Play
from tests.enumeration.scripts import scripts
from tests.enumeration.setups import Setup, setups


def check(played: Iterable[Played], *, least: int) -> None:
    """All scripts keep the contract, and there are so many."""
    count = 0
    for each in played:
        count += each.scripts
        assert not each.failed, report(each.setup, each.failed[0])
    assert least <= count


def test_short_scripts_keep_the_contract() -> None:
    """After any two actions in any order, three from an empty queue, the contract holds."""
    depths = Depths(fresh=3, full=2)
    numbers = range(len(list(setups(depths.fresh, depths.full))))
    check((play_setup((depths, number)) for number in numbers), least=4_000)


PARTS = 3


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
def test_all_scripts_keep_the_contract(part: int) -> None:
    """After any four actions in any order, five from an empty queue, the contract holds."""
    played = play_all(Depths(fresh=5, full=4), processes=2, part=slice(part, None, PARTS))
    check(played, least=95_000)


def test_no_script_is_played_twice() -> None:
    """The scripts of a setup differ."""
    for setup in setups(2, 1):
        paths = [script.path for script in scripts(setup)]
        assert len(paths) == len(set(paths))


def test_setups_differ() -> None:
    """No setup is played twice."""
    found = list(setups(2, 2))
    assert len(found) == len({repr(setup) for setup in found})


FULL = [setup for setup in setups(fresh=0, full=1) if setup.depth]


@pytest.mark.parametrize("setup", FULL, ids=repr)
def test_a_full_queue_is_full(setup: Setup) -> None:
    """Where scripts begin with a full queue all slots are taken, and a producer waits in line."""
    with Play(setup) as play:
        account, calls = play.checker.account, play.checker.line.calls
        assert setup.limits.max_in_flight == len(account.running)
        assert setup.limits.max_queue_size == len(account.waiting)
        assert len(calls) == (setup.prologue[-2] != "leave")
        play.finish()
    assert [] == play.history.complaints
