"""Seeded sessions keep the contract, and the checker that says so can tell when they do not.

`tests.sessions` says what a session is, and how to play more of them or one again.
"""

import asyncio
import gc
import subprocess
import sys
from collections.abc import Hashable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import flushq.aio.batched
from flushq import Drop, Fail, Failure, Receipt
from flushq.aio import cancellation, queue
from flushq.aio.calls import Calls
from flushq.aio.runner import Runner
from flushq.core.attempts import Attempts
from flushq.core.core import Core
from flushq.core.waiter import Facts, Registry
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


# Rules of the driver, each broken in one way; those of the core are in tests.core_sessions.


async def _drop(_: object, attempts: Attempts[object], __: Failure[object]) -> None:
    attempts.judged(Drop())


async def _wait_and_stay(runner: Runner[object], registry: Registry[*Facts], *facts: *Facts) -> Any:
    waiter = runner.loop.create_future()
    registry.join(waiter, *facts)
    return await waiter


async def _wait_for_room_asleep(core: Core[object], runner: Runner[object]) -> None:
    refusal = await runner.wait(core.admission.waitlist, runner.inside())
    if refusal is not None:
        raise refusal


async def _give_way_and_keep(core: Core[object], runner: Runner[object], key: Hashable) -> None:
    core.admission.give_way(key)
    await asyncio.sleep(0)


async def _leave_at_once(core: Core[object], runner: Runner[object], **_: object) -> None:
    while not core.ending.ended:
        await runner.wait(core.ending, True)


async def _never_leave(core: Core[object], runner: Runner[object], **_: object) -> None:
    while not core.ending.ended:
        with suppress(asyncio.CancelledError):
            await runner.wait(core.ending, True)


def _nothing(*_: object, **__: object) -> None: ...


SABOTAGES: dict[str, tuple[object, str, object]] = {
    "nobody is asked about a failure": (Calls, "_ask", _drop),
    "reports are left out": (Runner, "_report", _nothing),
    "a failure is not logged": (Runner, "_log_failure", _nothing),
    "a loss is not noted": (cancellation, "_note_loss", _nothing),
    "the timer is never set": (Runner, "_set_timer", _nothing),
    "the limit is not kept": (Runner, "_keep_deadline", _nothing),
    "flushes go on at the limit": (Runner, "_interrupt", Runner.wake),
    "the limit outlives the queue": (Runner, "_forget_deadline", _nothing),
    "flush_fn runs in the context of the first caller": (
        Runner,
        "start",
        lambda runner: (runner._core.ending.start(), runner.wake()),  # noqa: SLF001 - it is broken
    ),
    "nobody is inside a flush": (Runner, "inside", _nothing),
    "who would wait for itself hangs": (Runner, "refuse_inside", _nothing),
    "who has waited is asked again": (Runner, "wait", _wait_and_stay),
    "who waits for room asks for no pass": (queue, "wait_for_room", _wait_for_room_asleep),
    "who gives way keeps its claim": (queue, "give_way", _give_way_and_keep),
    "a cancelled owner leaves at once": (queue, "until_ended", _leave_at_once),
    "a cancelled owner never leaves": (queue, "until_ended", _never_leave),
    "everyone has a receipt of its own": (
        queue,
        "receipt_of",
        lambda item, stays, core, runner: Receipt(
            core.receipts.completion(core.buffer.number_of(item, stays)), runner
        ),
    ),
}


@pytest.mark.filterwarnings("ignore")  # a broken queue leaves more behind than it may
@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_a_broken_driver_is_found(sabotage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that breaks the contract is found within a few hundred sessions."""
    owner, name, replacement = SABOTAGES[sabotage]
    monkeypatch.setattr(owner, name, replacement)
    assert any(play(seed).complaints for seed in range(500))
    gc.collect()


BATCHED_SABOTAGES: dict[str, tuple[object, str, object]] = {
    "a missing key is None": (
        flushq.aio.batched,
        "_look_up",
        lambda request, results: setattr(request, "answer", results.get(request.key)),
    ),
    "a failure of the loader ends the queue": (flushq.aio.batched, "DROP", Fail()),
    "an exception is a result": (flushq.aio.batched._Request, "result", lambda self: self.answer),  # noqa: SLF001 - it is being broken
    "who has gone is asked for": (flushq.aio.batched._Request, "is_wanted", True),  # noqa: SLF001 - the same
    "nobody joins another": (flushq.aio.batched._Request, "join", _nothing),  # noqa: SLF001 - the same
}


@pytest.mark.filterwarnings("ignore")  # a broken queue leaves more behind than it may
@pytest.mark.parametrize("sabotage", BATCHED_SABOTAGES)
def test_a_broken_batched_is_found(sabotage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Batched that breaks its promises is found within a hundred sessions."""
    owner, name, replacement = BATCHED_SABOTAGES[sabotage]
    monkeypatch.setattr(owner, name, replacement)
    assert any(batched.play(seed).complaints for seed in range(100))
    gc.collect()
