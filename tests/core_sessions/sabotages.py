"""Rules of the core, each broken in one way: the sessions must find each of them."""

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

# ruff: noqa: SLF001 - the broken members are private


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
        raise QueueFull("another producer comes first")
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
    """Close the burst, although a producer that was given room has not added its item yet."""
    CLOSE_BURST(admission)
    if admission.opened is not None:
        admission.opened = None
        admission.on_burst_closed()


CLOSE_BURST = Admission.tell_burst


def _ends_first(core: Core[Any]) -> None:
    """Tell the policy of the ends of flushes before the arrivals."""
    while core._done:
        core._observe_end(*core._done.pop(0))
    OBSERVE(core)


OBSERVE = Core.observe


def _rejected_first(core: Core[Any], clock: Callable[[], float]) -> Any:
    """Look for a due flush before waiting producers are given room."""
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


def _start_calls_untold(starts: Starts[Any], now: float, *, is_due: bool) -> bool:
    throttle = starts._throttle
    if throttle is None:
        return START_CALLS(starts, now, is_due=is_due)
    ended, throttle._ended = throttle._ended, []
    try:
        return START_CALLS(starts, now, is_due=is_due)
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


def _never_owned(ending: Ending[Any], waiter: Any, is_owner: bool) -> None:  # noqa: FBT001 - like the original
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


START_CALLS, JOIN, MAY_START = Starts.start_calls_in_line, Starts.join, Starts._may_start

SABOTAGES: dict[str, Sabotage] = {
    # Which producers may add items.
    "a producer overtakes the line": (Admission, "must_join_line", lambda *_: False),
    "enqueue_nowait overtakes the line": (Admission, "check_room", _nothing),
    "enqueue_nowait is refused free room": (Admission, "check_room", _refuse_beside_room),
    "enqueue_nowait takes reserved room": (Admission, "check_room", _ignore_claims),
    "there is one item too much credit": (Admission, "grant_credit", _too_much_credit),
    "there is one item too much overdraft": (Admission, "grant_credit", _too_much_overdraft),
    "credit is not limited to a burst": (
        Admission,
        "grant_credit",
        lambda self: (repeat(None, max(0, self.room_for_newcomers - 1)), NO_CREDIT),
    ),
    "credit is never revoked": (Admission, "revoke_credit", _nothing),
    "a close does not revoke credit": (Core, "close", _close_with_credit),
    "pausing producers claim no room": (Admission, "claim_room", lambda *_: False),
    "pausing producers never give room back": (Admission, "end_claim", _nothing),
    "no producer pauses": (Admission, "must_give_way", _always(False)),
    "deliver does not prolong the burst": (Admission, "prolong_burst", _nothing),
    "the last producer in line is served first": (WaitList, "admit", _admit_the_last),
    "a reservation is never given back": (WaitList, "leave", _stay),
    "the burst is closed before reserved items come": (Admission, "tell_burst", _close_for_good),
    "every line is pressure": (Admission, "is_pressed", property(lambda self: self.waitlist.line)),
    "waiting producers are no pressure": (Admission, "is_pressed", _always(False)),
    "a deadlock is not broken": (Admission, "break_deadlock", _nothing),
    "a deadlock is never found": (Batcher, "has_free_slot", _always(True)),
    "a deadlock rejects the first producer": (WaitList, "reject_last", _reject_the_first),
    "the line is not rejected at the end": (WaitList, "reject", _nothing),
    # Order of a pass.
    "ends are told before arrivals": (Core, "observe", _ends_first),
    "the time is told first": (Core, "observe", _tick_early),
    "a due flush waits for the line": (Core, "start_next_flush", _rejected_first),
    "arrivals are told late": (Batcher, "burst_size", _always(0)),
    # Batches.
    "one flush too many runs": (Batcher, "_may_flush", property(_one_too_many)),
    "caps are ignored": (Buffer, "take", _no_caps),
    "a close does not drain": (Core, "close", _no_batch_when_drained),
    "keys are never freed": (Duplicates, "free", _nothing),
    "a failed flush does not end the queue": (Batcher, "_attribute_failure", _nothing),
    "losses are not sorted": (LossList, "add", _unsorted),
    "losses are not listed": (LossList, "add", _nothing),
    "waiting items are not counted as lost": (
        Batcher,
        "stop",
        lambda self, why: setattr(self, "stopped", why),
    ),
    "the policy is never asked again": (Batcher, "wake_at", _always(math.inf)),
    "ends within a pass are told in the next pass": (Core, "flushes_ended", _always(False)),
    "a pass does not ask for the next one": (Core, "is_due", _always(False)),
    "the end of a part is told late": (Batcher, "end_part", _nothing),
    # Attempts.
    "items that ended early are told with the rest": (Core, "_note_ended", _nothing),
    "halves are called in reverse order": (Parts, "judge", _judge_backwards),
    "attempts are not counted": (Parts, "judge", _judge_afresh),
    "delivered items are handed over again": (
        Parts,
        "_narrow",
        lambda self, error: dict.fromkeys(self._parts[-1].positions, error),
    ),
    "the other half is not lost": (Parts, "lost", property(lambda self: sorted(self.failed))),
    # When calls may start.
    "the throttle is ignored": (Starts, "_may_start", _always_may),
    "the throttle is not told of starts": (RunningThrottle, "call_started", _nothing),
    "the throttle is not told of ends": (RunningThrottle, "note_end", _nothing),
    "the throttle is told of ends too late": (Starts, "start_calls_in_line", _start_calls_untold),
    "retries do not wait": (Starts, "join", _join_and_go),
    "the newest retry goes first": (Starts, "join", _join_in_front),
    "a failed throttle does not end the queue": (Batcher, "fail_throttle", _nothing),
    "a hold holds one flush alone": (Starts, "_may_start", _may_start_in_hold),
    "calls set no timer": (Core, "wake_at", property(lambda self: self.batcher.wake_at)),
    # Receipts.
    "receipts of lost items hang": (Receipts, "settle_all_but", _nothing),
    "receipts of parts hang": (Receipts, "settle_part", _nothing),
    "receipts of batches hang": (Receipts, "settle", _nothing),
    "every receipt reports delivery": (Receipts, "_failures", lambda *_: {}),
    "receipts change their answer": (
        Ending,
        "loss_factory",
        lambda self: lambda: self._exception(self._end_by_now),
    ),
    "losses are told before their cause is known": (Batcher, "outcome_is_known", _always(True)),
    "a later submit replaces the receipt": (Receipts, "completion", _new_completion),
    # Barriers and the end.
    "barriers are answered too early": (Barriers, "answer", _answer_all),
    "barriers return at once": (Batcher, "settled", _always(1_000_000)),
    "barriers do not wait for running flushes": (
        Batcher,
        "settled",
        property(lambda self: self.buffer.first),
    ),
    "barriers do not raise for losses": (Ending, "check_delivered", _nothing),
    "the end comes too early": (Ending, "finish", _answer_early),
    "owners are forgotten": (Ending, "join", _never_owned),
    "any caller can cut the close short": (
        Ending,
        "cancellation_ends_queue",
        lambda *_, **__: True,
    ),
    "the drain refuses items of flushes": (Ending, "refusal", lambda self, _: REFUSAL(self, None)),
    "items of flushes are accepted after the end": (
        Ending,
        "refusal",
        lambda self, inside: None if inside is not None else REFUSAL(self, None),
    ),
    **BOUND_SABOTAGES,
    **MERGE_SABOTAGES,
    **PARTITION_SABOTAGES,
}
"""The class and the name of each broken member, and its replacement."""
