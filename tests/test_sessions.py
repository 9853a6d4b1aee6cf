"""Seeded sessions keep the contract, and the checker that says so can tell when they do not.

`tests.sessions` says what a session is, and how to play more of them or one again.
"""

import gc
import subprocess
import sys
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path

import pytest

import flushq.aio.batched
import flushq.requests
from flushq import Drop, Fail, Failure, PartialFailure, QueueFull, Verdict
from flushq.aio.calls import Calls
from flushq.aio.runner import Runner
from flushq.core.admission import Admission
from flushq.core.attempts import Attempts, Parts
from flushq.core.batcher import Batcher
from flushq.core.core import Core
from flushq.core.ending import Ending
from flushq.core.losses import LossList
from flushq.core.receipts import Receipts
from flushq.core.waitlist import WaitList
from tests.sessions import batched
from tests.sessions.many import all_failing, report
from tests.sessions.session import play

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("first", range(0, 300, 50))
def test_sessions_keep_the_contract(first: int) -> None:
    """Fifty sessions, each on a queue of its own, break no point of the contract."""
    for seed in range(first, first + 50):
        complaints, text = report(seed)
        assert not complaints, text


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_batched_sessions_keep_what_is_promised(first: int) -> None:
    """Fifty sessions, each on a Batched of its own: every caller gets its answer."""
    for seed in range(first, first + 50):
        complaints, text = report(seed, "batched")
        assert not complaints, text


@pytest.mark.long
def test_ten_thousand_batched_sessions_keep_what_is_promised() -> None:
    """Ten thousand sessions of a Batched break nothing."""
    failed = list(all_failing(range(10_000), 2, "batched"))
    assert not failed, f"{failed}\n{report(failed[0], 'batched')[1]}"


@pytest.mark.long
def test_ten_thousand_sessions_keep_the_contract() -> None:
    """Ten thousand sessions break no point of the contract."""
    failed = list(all_failing(range(10_000), processes=2))
    assert not failed, f"{failed}\n{report(failed[0])[1]}"


@pytest.mark.parametrize(("kind", "count"), [("queue", 60), ("core", 30)])
def test_a_seed_makes_the_same_session_again(kind: str, count: int) -> None:
    """A seed has one history in every process, whatever hashes and addresses come out there."""
    script = (
        "from tests.sessions.many import report;"
        f"print(*(report(seed, {kind!r})[1] for seed in range({count})))"
    )
    histories = {
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={"PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert 1 == len(histories)


async def _drop(_: object, attempts: Attempts[object], __: Failure[object]) -> None:
    attempts.judged(Drop())


def _name_all(parts: Parts[object], error: PartialFailure) -> Mapping[int, BaseException]:
    return dict.fromkeys(parts._parts[-1].positions, error)  # noqa: SLF001 - it is being broken


def _judge_backwards(parts: Parts[object], verdict: Verdict) -> None:
    count = len(parts._parts)  # noqa: SLF001 - it is being broken
    judge(parts, verdict)
    if len(parts._parts) > count:  # noqa: SLF001 - the same
        parts._parts[-2:] = reversed(parts._parts[-2:])  # noqa: SLF001 - the same


judge = Parts.judge


def _loss_as_known_by_then(ending: Ending[object]) -> Callable[[], BaseException]:
    return lambda: loss(ending)()  # noqa: PLW0108 - loss is to be asked then


loss = Ending.loss


def _refuse_beside_room(admission: Admission[object], key: Hashable) -> None:
    if admission.waitlist.claims and admission.must_wait(key):
        raise QueueFull("somebody comes first")
    check_room(admission, key)


def _ignore_claims(admission: Admission[object], key: Hashable) -> None:
    if admission.room <= 0:
        check_room(admission, key)


check_room = Admission.check_room


def _overtake(admission: Admission[object], key: Hashable) -> bool:
    return admission.room <= 0 and must_wait(admission, key)


must_wait = Admission.must_wait


def _beside_another(batcher: Batcher[object]) -> bool:
    return batcher.started and bool(batcher.buffer) and not batcher.stopped


SABOTAGES: dict[str, tuple[type, str, object]] = {
    "who stands behind a reservation presses": (Admission, "is_full", property(lambda _: True)),
    "who cannot wait is refused beside room": (Admission, "check_room", _refuse_beside_room),
    "who cannot wait takes the room of others": (Admission, "check_room", _ignore_claims),
    "receipts change their answer": (Ending, "loss", _loss_as_known_by_then),
    "losses are told before it is known why": (
        Batcher,
        "outcome_is_known",
        property(lambda _: True),
    ),
    "what has ended is told with the rest": (Core, "_note_ended", lambda *_: None),
    "receipts of what has ended hang": (Receipts, "settle_part", lambda *_: None),
    "a latecomer overtakes": (Admission, "must_wait", _overtake),
    "a reservation is never given back": (WaitList, "leave", lambda *_: None),
    "a flush too many": (Batcher, "_may_flush", property(_beside_another)),
    "a deadlock is left alone": (Admission, "break_deadlock", lambda *_: None),
    "a flush that failed does not end the queue": (Batcher, "_attribute_failure", lambda *_: None),
    "losses are not listed": (LossList, "add", lambda *_: None),
    "barriers return at once": (Batcher, "settled", property(lambda _: 1_000_000)),
    "arrivals are told late": (Batcher, "burst_size", property(lambda _: 0)),
    "what was delivered is handed over again": (Parts, "_narrow", _name_all),
    "halves come in reverse": (Parts, "judge", _judge_backwards),
    "the other half is not in doubt": (Parts, "lost", property(lambda self: list(self.failed))),
    "nobody is asked about a failure": (Calls, "_ask", _drop),
    "every receipt tells of delivery": (Receipts, "_failures", lambda *_: {}),
    "receipts of what is undelivered hang": (Receipts, "settle_lost", lambda *_: None),
    "reports are left out": (Runner, "_report", lambda _: None),
}


@pytest.mark.filterwarnings("ignore")  # a broken queue leaves more behind than it may
@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_the_checker_finds_a_broken_queue(sabotage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue that breaks the contract is found within two thousand sessions."""
    owner, name, replacement = SABOTAGES[sabotage]
    monkeypatch.setattr(owner, name, replacement)
    assert any(play(seed).complaints for seed in range(2_000))
    gc.collect()


BATCHED_SABOTAGES: dict[str, tuple[object, str, object]] = {
    "a missing key is None": (
        flushq.requests,
        "_look_up",
        lambda request, results: setattr(request, "answer", results.get(request.key)),
    ),
    "a failure of the loader ends the queue": (flushq.aio.batched, "DROP", Fail()),
    "an exception is a result": (flushq.aio.batched._Request, "result", lambda self: self.answer),  # noqa: SLF001 - it is being broken
}


@pytest.mark.parametrize("sabotage", BATCHED_SABOTAGES)
def test_the_checker_finds_a_broken_batched(sabotage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Batched that breaks its promises is found within a hundred sessions."""
    owner, name, replacement = BATCHED_SABOTAGES[sabotage]
    monkeypatch.setattr(owner, name, replacement)
    assert any(batched.play(seed).complaints for seed in range(100))
