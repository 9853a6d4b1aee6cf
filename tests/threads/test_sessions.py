"""Random sessions of the queue for threads keep the contract, and a broken queue is found."""

from typing import Any

import pytest

from flushq.core.merging import Merging
from flushq.core.receipts import Receipts
from flushq.threads import process
from flushq.threads.calls import Calls
from flushq.threads.entrance import Entrance
from flushq.threads.runner import Runner
from tests.core_sessions.sabotages import SABOTAGES as CORE_SABOTAGES
from tests.threads.sessions import play_for_real, play_on_stage


def test_sessions_keep_the_contract() -> None:
    """Sessions on the stage keep the contract."""
    for seed in range(120):
        play_on_stage(seed)
    play_on_stage(24_971)  # this seed found an item that got the number of another
    for seed in range(8):
        play_on_stage(seed, preempt=0.02)


@pytest.mark.long
@pytest.mark.parametrize("part", range(4))
def test_many_sessions_keep_the_contract(part: int) -> None:
    """Many sessions on the stage, and some with real threads, keep the contract."""
    for seed in range(1000 * part, 1000 * part + 1000):
        play_on_stage(10_000 + seed)
        if seed % 10 == 0:
            play_on_stage(seed, preempt=0.02)
            play_for_real(seed)


OF_THE_CORE = [
    "weight is not bounded",
    "the newest are displaced instead",
    "the throttle is ignored",
    "a failed throttle does not end the queue",
    "timers of partitions are forgotten",
]

SABOTAGES: dict[str, tuple[Any, str, Any]] = {
    "credit is not revoked": (Entrance, "revoke_credit", lambda _: None),
    "room that was given is not given back": (Entrance, "_leave_line", lambda *_: None),
    "a flush is not abandoned": (Runner, "_abandon", lambda _: None),
    "the deadline is not kept": (Runner, "_enforce_deadline", lambda *_: None),
    "receipts are not settled": (Receipts, "settle", lambda *_: None),
    "a batch is handed over although the queue has ended": (
        Calls,
        "first_step",
        lambda calls, flush: calls.next_step(flush, lambda _: None),
    ),
    "items are not merged": (Merging, "merge", lambda *_: None),
    **{what: CORE_SABOTAGES[what] for what in OF_THE_CORE},
}


@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_a_broken_queue_is_found(sabotage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken queue fails in one of 300 sessions: the check fails, or a thread waits forever."""
    owner, name, replacement = SABOTAGES[sabotage]
    monkeypatch.setattr(owner, name, replacement)
    with pytest.raises(Exception, match=r".") as found:
        for seed in range(300):
            play_on_stage(seed)
    process._runners.clear()  # noqa: SLF001 - they would be drained at the end
    assert type(found.value).__name__ in {"Hang", "AssertionError", "AttributeError", "KeyError"}
