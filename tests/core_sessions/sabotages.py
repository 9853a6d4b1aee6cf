"""Rules of the core, each broken in one way: the sessions must find every one."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import Any

from flushq.core.admission import NO_CREDIT, Admission
from flushq.core.attempts import Parts
from flushq.core.barriers import Barriers
from flushq.core.batcher import Batcher
from flushq.core.buffer import Buffer
from flushq.core.core import Core
from flushq.core.duplicates import Duplicates
from flushq.core.ending import Ending
from flushq.core.losses import LossList
from flushq.core.need import Need
from flushq.core.receipts import Completion, Receipts
from flushq.core.running_throttle import RunningThrottle
from flushq.core.starts import Starts
from flushq.core.waiter import Waiter, wake
from flushq.core.waitlist import WaitList
from flushq.errors import QueueFull
from flushq.outcomes import Split
from tests.core_sessions.bound_sabotages import BOUND_SABOTAGES
from tests.core_sessions.merge_sabotages import MERGE_SABOTAGES
from tests.core_sessions.partition_sabotages import PARTITION_SABOTAGES

Sabotage = tuple[type, str, object]

# ruff: noqa: SLF001 - what is private is what is being broken


def _always(value: object) -> property:
    return property(lambda _: value)


def _nothing(*_: object, **__: object) -> None: ...


Granted = tuple[Iterator[None], Iterator[None]]


def _too_much_credit(admission: Admission[Any]) -> Granted:
    credit, overdraft = GRANT(admission)
    return iter([*credit, None]), overdraft


def _too_much_overdraft(admission: Admission[Any]) -> Granted:
    credit, overdraft = GRANT(admission)
    return credit, iter([*overdraft, None])


GRANT = Admission.grant_credit


def _refuse_beside_room(admission: Admission[Any], need: Need) -> None:
    if admission.waitlist.claims and admission.must_join_line(need):
        raise QueueFull("somebody comes first")
    CHECK_ROOM(admission, need)


def _ignore_claims(admission: Admission[Any], need: Need) -> None:
    if admission.room <= 0:
        CHECK_ROOM(admission, need)


CHECK_ROOM = Admission.check_room


ADMIT = WaitList.admit


def _admit_the_last(waitlist: WaitList[Any], *rules: Any) -> bool:
    if waitlist.line:
        waitlist.line.move_to_end(next(reversed(waitlist.line)), last=False)
    return ADMIT(waitlist, *rules)


def _stay(waitlist: WaitList[Any], waiter: Any) -> None:
    if waiter in waitlist.line:
        LEAVE(waitlist, waiter)


LEAVE = WaitList.leave


def _reject_the_first(waitlist: WaitList[Any], owners: Any, refusal: BaseException) -> None:
    for waiter, (owner, *_) in waitlist.line.items():
        if owner in owners:
            waitlist._answer(waiter, refusal)
            return


def _close_for_good(admission: Admission[Any]) -> None:
    """Close the burst also for those who have room and have not come in yet."""
    CLOSE_BURST(admission)
    if admission.opened is not None:
        admission.opened = None
        admission.on_burst_closed()


CLOSE_BURST = Admission.tell_burst


def _ends_first(core: Core[Any]) -> None:
    """Tell the ends of flushes before the arrivals."""
    while core._done:
        core._observe_end(*core._done.pop(0))
    OBSERVE(core)


OBSERVE = Core.observe


def _rejected_first(core: Core[Any], clock: Callable[[], float]) -> Any:
    """Look for what is due before producers are let in."""
    batch = START_NEXT_FLUSH(core, clock) if not core.admission.waitlist.line else None
    core.admission.admit(clock)
    return batch


START_NEXT_FLUSH = Core.start_next_flush


def _unsorted(losses: LossList[Any], numbers: Sequence[int], items: list[Any]) -> None:
    losses._numbered += zip(numbers, items, strict=True)
    losses.count += len(items)
    losses.items += items


def _no_caps(buffer: Buffer[Any], up_to: int | None = None) -> tuple[list[Any], float, Any]:
    items, weights = buffer._take(len(buffer) if up_to is None else up_to)
    return items, 0, weights


def _one_too_many(batcher: Batcher[Any]) -> bool:
    free = len(batcher.running) <= batcher._max_in_flight
    return batcher.policy.pending > 0 and free and batcher.started and batcher.stopped is None


def _always_may(_: Starts[Any], __: float) -> bool:
    return True


def _let_go_untold(starts: Starts[Any], now: float, *, is_due: bool) -> bool:
    throttle = starts._throttle
    if throttle is None:
        return LET_GO(starts, now, is_due=is_due)
    ended, throttle._ended = throttle._ended, []
    try:
        return LET_GO(starts, now, is_due=is_due)
    finally:
        throttle._ended += ended


def _join_and_go(_: Starts[Any], waiter: Waiter, *__: object) -> None:
    waiter.set_result(True)


def _join_in_front(starts: Starts[Any], waiter: Waiter, attempts: Any, now: float) -> None:
    JOIN(starts, waiter, attempts, now)
    starts.line.sort(key=lambda call: call.waiter is not waiter)


def _may_start_in_hold(starts: Starts[Any], now: float) -> bool:
    starts._held_until = -math.inf
    return MAY_START(starts, now)


def _new_completion(receipts: Receipts[Any], number: int) -> Completion[Any]:
    completion = receipts.watchers[number] = Completion(receipts._buffer[number], ())
    return completion


def _judge_backwards(parts: Parts[Any], verdict: Any) -> None:
    JUDGE(parts, verdict)
    if isinstance(verdict, Split) and not parts.failed:
        parts._parts[-2:] = reversed(parts._parts[-2:])


def _judge_afresh(parts: Parts[Any], verdict: Any) -> None:
    JUDGE(parts, verdict)
    for at, part in enumerate(parts._parts):
        parts._parts[at] = type(part)(part.items, part.positions, 1, part.pause)


JUDGE = Parts.judge


def _answer_all(barriers: Barriers[Any]) -> None:
    if barriers._batcher.settled:
        for waiter in barriers.marks:
            wake(waiter)


def _never_owned(ending: Ending[Any], waiter: Any, is_owner: bool) -> None:  # noqa: FBT001 - as there
    ending._waiters[waiter] = None


def _answer_early(ending: Ending[Any]) -> bool:
    if ending.has_begun:
        ending.ended = True
        for waiter in ending._waiters:
            wake(waiter)
    return ending.ended


REFUSAL = Ending.refusal


def _no_batch_when_drained(core: Core[Any]) -> None:
    core.ending.closing = True
    core.admission.revoke_credit()


def _close_with_credit(core: Core[Any]) -> None:
    core.ending.closing = True
    core.batcher.drain()


def _tick_early(core: Core[Any]) -> None:
    if core.timer_fired > -math.inf and not core._done:
        now, core.timer_fired = core.timer_fired, -math.inf
        core.batcher.tick(now)
    OBSERVE(core)


LET_GO, JOIN, MAY_START = Starts.let_go, Starts.join, Starts._may_start

SABOTAGES: dict[str, Sabotage] = {
    # Who may come in.
    "a latecomer overtakes": (Admission, "must_join_line", lambda *_: False),
    "who cannot wait overtakes": (Admission, "check_room", _nothing),
    "who cannot wait is refused beside room": (Admission, "check_room", _refuse_beside_room),
    "who cannot wait takes the room of others": (Admission, "check_room", _ignore_claims),
    "there is one item too much credit": (Admission, "grant_credit", _too_much_credit),
    "there is one item too much overdraft": (Admission, "grant_credit", _too_much_overdraft),
    "credit knows no burst": (
        Admission,
        "grant_credit",
        lambda self: (repeat(None, max(0, self.room_for_newcomers - 1)), NO_CREDIT),
    ),
    "credit is never revoked": (Admission, "revoke_credit", _nothing),
    "a close leaves credit": (Core, "close", _close_with_credit),
    "pauses claim no room": (Admission, "claim_room", lambda *_: False),
    "pauses keep their room": (Admission, "end_claim", _nothing),
    "nobody pauses": (Admission, "must_give_way", _always(False)),
    "who waits for an item shortens the burst": (Admission, "prolong_burst", _nothing),
    "the last in line is the first": (WaitList, "admit", _admit_the_last),
    "a reservation is never given back": (WaitList, "leave", _stay),
    "who has room comes late": (Admission, "tell_burst", _close_for_good),
    "every line is pressure": (Admission, "is_pressed", property(lambda self: self.waitlist.line)),
    "nobody presses": (Admission, "is_pressed", _always(False)),
    "a deadlock stays": (Admission, "break_deadlock", _nothing),
    "a deadlock is never found": (Batcher, "has_free_slot", _always(True)),
    "a deadlock rejects the first": (WaitList, "reject_last", _reject_the_first),
    "the line is left to wait at the end": (WaitList, "reject", _nothing),
    # Order of a pass.
    "ends come before arrivals": (Core, "observe", _ends_first),
    "the time comes first": (Core, "observe", _tick_early),
    "what is due waits for the line": (Core, "start_next_flush", _rejected_first),
    "arrivals are told late": (Batcher, "burst_size", _always(0)),
    # Batches.
    "a flush too many": (Batcher, "_may_flush", property(_one_too_many)),
    "caps are forgotten": (Buffer, "take", _no_caps),
    "the drain is forgotten": (Core, "close", _no_batch_when_drained),
    "keys stay taken": (Duplicates, "free", _nothing),
    "a failed flush does not end the queue": (Batcher, "_attribute_failure", _nothing),
    "losses are listed as they come": (LossList, "add", _unsorted),
    "losses are not listed": (LossList, "add", _nothing),
    "what waits is not lost": (
        Batcher,
        "stop",
        lambda self, why: setattr(self, "stopped", why),
    ),
    "the policy is never asked again": (Batcher, "wake_at", _always(math.inf)),
    "ends in a pass are told in the next": (Core, "flushes_ended", _always(False)),
    "what is due after a pass is not asked for": (Core, "is_due", _always(False)),
    "what a part has come to is told late": (Batcher, "end_part", _nothing),
    # Attempts.
    "what has ended is told with the rest": (Core, "_note_ended", _nothing),
    "halves come in reverse": (Parts, "judge", _judge_backwards),
    "attempts are not counted": (Parts, "judge", _judge_afresh),
    "what was delivered is handed over again": (
        Parts,
        "_narrow",
        lambda self, error: dict.fromkeys(self._parts[-1].positions, error),
    ),
    "the other half is not lost": (Parts, "lost", property(lambda self: sorted(self.failed))),
    # When calls may start.
    "the throttle is overruled": (Starts, "_may_start", _always_may),
    "the throttle hears of no start": (RunningThrottle, "call_started", _nothing),
    "the throttle hears of no end": (RunningThrottle, "note_end", _nothing),
    "the throttle hears of ends too late": (Starts, "let_go", _let_go_untold),
    "retries go when they like": (Starts, "join", _join_and_go),
    "the last to come retries first": (Starts, "join", _join_in_front),
    "a queue survives its throttle": (Batcher, "fail_throttle", _nothing),
    "a hold is for one alone": (Starts, "_may_start", _may_start_in_hold),
    "nobody wakes up for a call": (Core, "wake_at", property(lambda self: self.batcher.wake_at)),
    # Receipts.
    "receipts of what is lost hang": (Receipts, "settle_all_but", _nothing),
    "receipts of parts hang": (Receipts, "settle_part", _nothing),
    "receipts of batches hang": (Receipts, "settle", _nothing),
    "every receipt tells of delivery": (Receipts, "_failures", lambda *_: {}),
    "receipts change their answer": (
        Ending,
        "loss_factory",
        lambda self: lambda: self._exception(self._end_by_now),
    ),
    "losses are told before it is known why": (
        Batcher,
        "outcome_is_known",
        _always(True),
    ),
    "who asks later takes the answer of others": (Receipts, "completion", _new_completion),
    # Barriers and the end.
    "barriers are answered too early": (Barriers, "answer", _answer_all),
    "barriers return at once": (Batcher, "settled", _always(1_000_000)),
    "barriers stop at what is running": (
        Batcher,
        "settled",
        property(lambda self: self.buffer.first),
    ),
    "barriers tell of no loss": (Ending, "check_delivered", _nothing),
    "the end comes too early": (Ending, "finish", _answer_early),
    "owners are forgotten": (Ending, "join", _never_owned),
    "anybody cuts the close short": (Ending, "cancellation_ends_queue", lambda *_, **__: True),
    "flushes are refused in the drain": (Ending, "refusal", lambda self, _: REFUSAL(self, None)),
    "flushes are taken from after the end": (
        Ending,
        "refusal",
        lambda self, inside: None if inside is not None else REFUSAL(self, None),
    ),
    **BOUND_SABOTAGES,
    **MERGE_SABOTAGES,
    **PARTITION_SABOTAGES,
}
"""What is broken, where, and with what."""
