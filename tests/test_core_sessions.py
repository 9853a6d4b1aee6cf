"""The core does what a plain model does, whatever happens in whatever order, and both are tested.

`tests.core_sessions` says how; ``python -m tests.sessions --kind core`` plays more seeds.
"""

import pytest

from tests.core_sessions.sabotages import SABOTAGES
from tests.core_sessions.session import play
from tests.sessions.many import all_failing, report

MOST_SEEDS = 3_000


@pytest.mark.parametrize("first", range(0, 600, 200))
def test_the_core_does_what_the_model_does(first: int) -> None:
    """In two hundred sessions the core and its model never differ."""
    for seed in range(first, first + 200):
        complaints, text = report(seed, "core")
        assert not complaints, text


@pytest.mark.long
def test_the_core_does_what_the_model_does_for_long() -> None:
    """In fifty thousand sessions the core and its model never differ."""
    failed = list(all_failing(range(50_000), 2, "core"))
    assert not failed, f"{failed}\n{report(failed[0], 'core')[1]}"


def finds_fault(seed: int) -> bool:
    """Whether a session finds that the core is broken, or a broken core breaks the session."""
    try:
        return bool(play(seed).complaints)
    except (AssertionError, LookupError):
        return True


@pytest.mark.filterwarnings("ignore")  # a broken core leaves more behind than it may
@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_a_broken_core_is_found(sabotage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A core with one rule broken differs from the model within a few thousand sessions."""
    owner, name, replacement = SABOTAGES[sabotage]
    monkeypatch.setattr(owner, name, replacement)
    assert any(map(finds_fault, range(MOST_SEEDS)))
