"""A driver that takes only the steps of a script, in their order.

It has the parts of every driver. Callers are generators that yield the waiter that they wait on; a
flag asks for a pass; flushes are generators that yield what they want; the time is a number that
the script changes. So a pass may come between any two steps of callers and flushes.
"""

import math
from asyncio import CancelledError
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from itertools import chain
from operator import attrgetter
from typing import Any

import attrs

from flushq import FlushPolicy, FlushqError, FlushReport
from flushq.core.admission import NO_CREDIT
from flushq.core.attempts import Ask, Call, Pause
from flushq.core.batch import Batch
from flushq.core.core import Core
from flushq.core.fairness import BURST
from flushq.core.need import Need
from flushq.core.receipts import DISPLACED, Completion, FailureFactory
from flushq.core.view import QueueView
from flushq.core.waiter import Facts, Registry
from tests.sessions.facts import Item, Limits
from tests.sessions.merges import MISTAKES

Waiter = Future[Any]
"""The object that a caller waits on; it can be answered only once."""

Steps = Generator[Waiter | None, Any, Any]


class Caller:
    """The caller of a call that runs or has ended.

    Attributes:
        waiter: What the caller waits on; None if it only lets other tasks run.
        cancelled: Whether the caller gets a CancelledError when it resumes.
        done: Whether the call has ended, with a value or with an error.
        accepted: Whether the item of the call was accepted.
        completion: The completion of this item, if it was submitted.
    """

    completion: Completion[Item]
    steps: Steps

    def __init__(self) -> None:
        self.waiter: Waiter | None = None
        self.cancelled = self.done = self.accepted = False
        self.value: Any = None
        self.error: BaseException | None = None

    @property
    def ready(self) -> bool:
        """Whether the caller can resume."""
        if self.done:
            return False
        return self.waiter is None or self.waiter.done()


@attrs.frozen
class Turn:
    """A place in the line of calls."""

    seconds: float
    waiter: Waiter = attrs.field(repr=False)


Wish = Call[Item] | Ask[Item] | Turn


class Flush:
    """A flush that was started.

    Attributes:
        begun: Whether the flush has taken its first step.
        wants: What the flush waits for.
        over: Whether the flush has taken its last step.
        told: Whether the core was told that the flush is over.
    """

    def __init__(self, batch: Batch[Item], steps: Generator[Wish, Any, None]) -> None:
        self.batch = batch
        self.items = tuple(batch.items)
        self.steps = steps
        self.begun = self.over = self.told = False
        self.wants: Wish | None = None

    @property
    def wish(self) -> tuple[object, ...] | None:
        """What the flush waits for, in the terms of the model."""
        match self.wants:
            case Call(items):
                return "call", items
            case Turn(seconds, waiter):
                is_told = waiter.done() and not waiter.cancelled()
                return ("turn",) if is_told else ("pause", seconds)
            case Ask(failure):
                facts = failure.items, failure.error, failure.errors, failure.attempt
                return "ask", *facts, failure.reason, failure.seconds, failure.partition
            case None:
                return None if self.begun else ("begin",)


class Driver(QueueView[Item]):
    """A queue whose steps are taken by a script.

    Attributes:
        woken: Whether a pass was asked for.
        timer: The time at which the policy must be asked again.
        limit: The time at which the close is cut short.
        credit, overdraft: How many items come in without a check, of callers that can wait, and of
            others.
        flushes, reports: All flushes that were started, and all reports.
    """

    def __init__(
        self, policy: FlushPolicy, limits: Limits, *, handles: bool = False, burst: float = BURST
    ) -> None:
        self._core: Core[Item] = Core(
            policy,
            dedupe_key=attrgetter("key") if limits.dedupe else None,
            weigh=attrgetter("weight") if limits.weighs else None,
            partition_key=attrgetter("partition") if limits.partitioned else None,
            max_queue_size=limits.max_queue_size,
            max_queue_weight=limits.max_queue_weight,
            when_full=limits.when_full,
            merge=limits.merge,
            max_in_flight=limits.max_in_flight,
            max_in_flight_per_partition=limits.max_in_flight_per_partition,
            max_shutdown_wait=limits.max_shutdown_wait,
            throttle=limits.throttle,
            burst=burst,
            keeps_reports=True,
        )
        self._handles = handles
        self.now = 0.0
        self._clock = lambda: self.now
        self.woken = False
        self.timer = self.limit = math.inf
        self.credit: Iterator[None] = NO_CREDIT
        self.overdraft: Iterator[None] = NO_CREDIT
        self.flushes: list[Flush] = []
        self.reports: list[FlushReport] = []

    @property
    def core(self) -> Core[Item]:
        """The core of the queue."""
        return self._core

    # Callers.

    def enter(self, caller: Caller, steps: Steps) -> None:
        """Begin a call."""
        caller.steps = steps
        self._step(caller, steps.send, None)

    def cancel(self, caller: Caller) -> None:
        """Cancel a caller; it gets a CancelledError when it resumes."""
        caller.cancelled = True
        if caller.waiter is not None:
            caller.waiter.cancel()

    def resume(self, caller: Caller) -> None:
        """Resume a caller that is ready."""
        cancelled, caller.cancelled = caller.cancelled, False
        if cancelled:
            self._step(caller, caller.steps.throw, CancelledError())
        else:
            waiter = caller.waiter
            self._step(caller, caller.steps.send, None if waiter is None else waiter.result())

    def _step(self, caller: Caller, step: Any, value: Any) -> None:
        try:
            caller.waiter = step(value)
        except StopIteration as end:
            caller.done, caller.value = True, end.value
        except (FlushqError, CancelledError, *MISTAKES) as error:
            caller.done, caller.error = True, error.with_traceback(None)

    def _wait(self, registry: Registry[*Facts], *facts: *Facts) -> Steps:
        waiter = Waiter()
        registry.join(waiter, *facts)
        try:
            return (yield waiter)
        finally:
            registry.leave(waiter)

    # Producers.

    def enqueue(self, caller: Caller, item: Item, inside: Batch[Item] | None = None) -> Steps:
        """Bring an item, perhaps from inside a flush; return the number of the kept item."""
        for _ in self.credit:
            kept_number = self._append(item)
            break
        else:
            kept_number = yield from self._enqueue_slow(item, inside)
        caller.accepted = True
        return kept_number

    def enqueue_nowait(self, caller: Caller, item: Item) -> Steps:
        """Bring an item without waiting."""
        for _ in chain(self.credit, self.overdraft):
            kept_number = self._append(item)
            break
        else:
            key, weight = self._measure(item, None)
            admission = self._core.admission
            admission.check_room(admission.need_of(item, key, weight))
            kept_number = self._accept(item, key, weight)
        caller.accepted = True
        yield from ()  # it must be a generator like the others
        return kept_number

    def submit(self, caller: Caller, item: Item) -> Steps:
        """Bring an item, and keep its completion in the caller."""
        kept_number = yield from self.enqueue(caller, item)
        caller.completion = self._core.receipts.completion_of(item, kept_number)
        return kept_number

    def deliver(self, caller: Caller, item: Item) -> Steps:
        """Bring an item, and wait for its end."""
        kept_number = yield from self.enqueue(caller, item)
        if kept_number == DISPLACED:
            yield from self.read(self._core.receipts.displaced(item))
        self._core.admission.prolong_burst()
        waiter = Waiter()
        self._core.receipts.watch(self._number(item, kept_number), waiter)
        failure: FailureFactory | None = yield waiter
        if failure is not None:
            raise failure()

    def read(self, completion: Completion[Item]) -> Steps:
        """Wait for the end of an item that was submitted."""
        while not completion.ended:
            yield from self._wait(completion)
        if completion.failure is not None:
            raise completion.failure()

    def _enqueue_slow(self, item: Item, inside: Batch[Item] | None) -> Steps:
        key, weight = self._measure(item, inside)
        admission = self._core.admission
        need = admission.need_of(item, key, weight)
        must_join_line, turn = admission.must_join_line(need), next(admission.waitlist.turns)
        if not must_join_line and admission.must_give_way:
            yield from self._pause(need, inside)
            claim, need = need, admission.need_of(item, key, weight)
            must_join_line = not need.is_met_by(claim) and admission.must_join_line(need)
        while must_join_line:
            yield from self._wait_for_room(inside, need.weight, turn)
            given, need = need, admission.recheck_need(item, key, weight, need)
            must_join_line = need is not given
        return self._accept(item, key, weight)

    def _measure(self, item: Item, inside: Batch[Item] | None) -> tuple[Any, float]:
        self._core.ending.check_open(inside)
        return self._core.buffer.measure(item)

    def _wait_for_room(self, inside: Batch[Item] | None, *place: Any) -> Steps:
        self.woken = True
        try:
            refusal = yield from self._wait(self._core.admission.waitlist, inside, *place)
        finally:
            self.woken = True
        if refusal is not None:
            raise refusal
        self._core.ending.check_open(inside)

    def _pause(self, need: Need, inside: Batch[Item] | None) -> Steps:
        admission = self._core.admission
        admission.claim_room(need)
        try:
            yield None
        finally:
            admission.end_claim(need)
            self.woken = True
        self._core.ending.check_open(inside)

    def _accept(self, item: Item, key: Any, weight: float) -> int | None:
        self._open_burst()
        if self._core.ending.has_begun:
            self._core.admission.revoke_credit()
        else:
            self.credit, self.overdraft = self._core.admission.grant_credit()
        return self._core.admission.add(item, key, weight)

    def _append(self, item: Item) -> int | None:
        kept_number = self._core.buffer.append(item)
        self._open_burst()
        return kept_number

    def _open_burst(self) -> None:
        self.woken = True
        if self._core.admission.opened is None:
            self._core.admission.open_burst(self.now)

    def _number(self, item: Item, kept_number: int | None) -> int:
        return self._core.buffer.number_of(item, kept_number)

    # Barriers and ends.

    def flush(self) -> Steps:
        """Wait until every item that was accepted before has ended."""
        core = self._core
        core.ending.check_open(None)
        mark = core.barriers.set_barrier()
        if mark is None:
            return
        self.woken = True
        yield from self._wait(core.barriers, mark)
        core.ending.check_delivered(mark)

    def start(self) -> None:
        """Start the queue."""
        self._core.ending.start()
        self.woken = True

    def run(self) -> Steps:
        """Start the queue, and wait for its end as its owner."""
        self.start()
        return (yield from self._until_ended(owner=True))

    def leave(self) -> Steps:
        """Close the queue, and wait for its end as its owner."""
        self.close()
        return (yield from self._until_ended(owner=True))

    def aclose(self) -> Steps:
        """Close the queue, and wait for its end."""
        if not self._core.batcher.started:
            self.start()
        self.close()
        return (yield from self._until_ended(owner=False))

    def _until_ended(self, *, owner: bool) -> Steps:
        core, cancelled = self._core, None
        while not core.ending.ended:
            try:
                yield from self._wait(core.ending, owner)
            except CancelledError as error:
                if not core.ending.cancellation_ends_queue(is_owner=owner):
                    raise
                cancelled = error
                if core.ending.closing:
                    self.cut_short("the close was cancelled")
                else:
                    self.close()
        outcome = cancelled or core.ending.outcome()
        if outcome is not None:
            raise outcome

    def close(self) -> None:
        """Begin to drain."""
        self._core.close()
        self.woken = True
        self._keep_deadline()

    def cut_short(self, why: str) -> None:
        """Start no more flushes, and interrupt those that run."""
        self._core.ending.stop(why)
        self._interrupt()

    def reach_limit(self) -> None:
        """Cut the close short at its deadline."""
        self._core.ending.stop_at_deadline()
        self._interrupt()

    def _keep_deadline(self) -> None:
        if self._core.ending.deadline is not None:
            return
        deadline = self._core.ending.set_deadline(self.now)
        if deadline <= self.now:
            self.reach_limit()
        else:
            self.limit = deadline

    def _interrupt(self) -> None:
        self.limit = math.inf
        self.woken = True
        for flush in self.flushes:
            if not flush.over:
                flush.batch.interrupt()
                if isinstance(flush.wants, Turn):
                    flush.wants.waiter.cancel()

    # The pass and the timer.

    def run_pass(self, call_at_once: Callable[[Flush], None] | None = None) -> None:
        """Make a pass; with ``call_at_once``, flushes begin, and may end, within it."""
        core = self._core
        self.woken = False
        core.observe()
        while (batch := core.start_next_flush(self._clock)) is not None:
            self.flushes.append(Flush(batch, self._deliver(batch)))
            if call_at_once is not None:
                call_at_once(self.flushes[-1])
        if core.flushes_ended:
            core.observe()
            self.woken |= core.is_due
        if core.ending.has_begun:
            self._keep_deadline()
        core.respond()
        self.timer = core.wake_at
        self.reports += core.reports
        core.reports.clear()
        if core.ending.finish():
            self.limit = math.inf

    def fire_timer(self) -> None:
        """Fire the timer."""
        self._core.timer_fired = max(self.now, self.timer)
        self.timer = math.inf
        self.woken = True

    # Flushes.

    def begin(self, flush: Flush) -> None:
        """Let a flush take its first step; end it if it was interrupted before."""
        flush.begun = True
        if flush.batch.interrupted:
            flush.over = True
        else:
            self._step_flush(flush, flush.steps.send, None)

    def go_on(self, flush: Flush, answer: object = None) -> None:
        """Give a flush the answer that it waits for."""
        self._step_flush(flush, flush.steps.send, answer)

    def fail(self, flush: Flush, error: BaseException) -> None:
        """Raise an error in a flush, in place of the answer that it waits for."""
        self._step_flush(flush, flush.steps.throw, error)

    def end(self, flush: Flush) -> None:
        """Tell the core that a flush has ended, and ask for a pass."""
        self.end_in_pass(flush)
        self.woken = True

    def end_in_pass(self, flush: Flush) -> None:
        """Tell the core that a flush has ended within the pass that started it."""
        flush.told = True
        if not flush.batch.attempts:
            flush.batch.fail(CancelledError("flush_fn was never called"))
        self._core.note_flush_end(flush.batch, self.now)

    def _step_flush(self, flush: Flush, step: Any, value: Any) -> None:
        try:
            flush.wants = step(value)
        except StopIteration:
            flush.wants, flush.over = None, True

    def _deliver(self, batch: Batch[Item]) -> Generator[Wish, Any, None]:
        if self._core.batcher.stopped is not None:
            return
        attempts = None
        try:
            yield Call(batch.call(batch.items))
        except BaseException as error:  # the batch keeps it
            attempts = self._core.new_attempts(batch, has_handler=self._handles)
            attempts.raised(error, self.now, may_ask=_may_ask(batch, error))
        else:
            batch.returned()
        while attempts is not None and attempts.next is not None:
            self.woken = True
            yield from self._follow(attempts, batch)

    def _follow(self, attempts: Any, batch: Batch[Item]) -> Generator[Wish, Any, None]:
        """Do the next step after a failure."""
        wish, answer = attempts.next, None
        if isinstance(wish, Pause):
            yield from self._wait_in_line(attempts, wish.seconds)
            return
        try:
            answer = yield wish
        except BaseException as error:  # the batch keeps it
            match wish:
                case Call():
                    attempts.raised(error, self.now, may_ask=_may_ask(batch, error))
                case Ask():
                    attempts.handler_raised(error)
            return
        match wish:
            case Call():
                attempts.returned(self.now)
            case Ask():
                attempts.handler_answered(answer)

    def _wait_in_line(self, attempts: Any, seconds: float) -> Generator[Wish, Any, None]:
        turn: Waiter = Future()
        self._core.starts.join(turn, attempts, self.now)
        try:
            yield from _until_told(seconds, turn)
        except BaseException as error:  # the batch keeps it
            attempts.pause_cut_short(error)
        else:
            attempts.paused()
        self._core.starts.leave(turn)


def _until_told(seconds: float, turn: Waiter) -> Generator[Wish, Any, None]:
    """Wait until the call may start."""
    if not turn.done():
        yield Turn(seconds, turn)
    if not turn.result():
        raise CancelledError("the flush was cut short between two calls")


def _may_ask(batch: Batch[Item], error: BaseException) -> bool:
    """Return whether the handler may be asked; it is not, if the flush was interrupted."""
    return isinstance(error, Exception) and not batch.interrupted
