"""A core that is driven by hand: nothing happens but what a script says, in the order it says.

It does what every driver does: it waits (callers are generators, which yield the waiter they wait
on), wakes (a flag), calls (flushes are generators too, which yield what they want) and keeps time
(a number that the script moves). So a pass may come between any two steps of callers and flushes.
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
"""What a caller waits on; nobody can be told twice."""

Steps = Generator[Waiter | None, Any, Any]


class Caller:
    """Somebody who is in a call of the queue, or was.

    Attributes:
        waiter: What it waits on; None: it lets others run.
        cancelled: Whether a cancellation is to be raised when it goes on.
        done: Whether the call has ended: with a value, or with an error.
        accepted: Whether the item that it brings was accepted.
        completion: The completion of that item, if it was submitted.
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
        """Whether it can go on."""
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
        begun: Whether it has taken its first step.
        wants: What it waits for.
        over: Whether it has taken its last step.
        told: Whether the core was told of that.
    """

    def __init__(self, batch: Batch[Item], steps: Generator[Wish, Any, None]) -> None:
        self.batch = batch
        self.items = tuple(batch.items)
        self.steps = steps
        self.begun = self.over = self.told = False
        self.wants: Wish | None = None

    @property
    def wish(self) -> tuple[object, ...] | None:
        """What it waits for, as the model tells it."""
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
    """A queue that is driven by hand.

    Attributes:
        woken: Whether somebody has asked for a pass.
        timer: When the policy is to be asked again.
        limit: When the end is to be over.
        credit, overdraft: How many items need no second look, of those who can wait or of others.
        flushes, reports: All that were started, and handed out.
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
        """What decides."""
        return self._core

    # Callers.

    def enter(self, caller: Caller, steps: Steps) -> None:
        """Begin a call."""
        caller.steps = steps
        self._step(caller, steps.send, None)

    def cancel(self, caller: Caller) -> None:
        """Cancel a caller: it knows when it goes on."""
        caller.cancelled = True
        if caller.waiter is not None:
            caller.waiter.cancel()

    def resume(self, caller: Caller) -> None:
        """Let a caller go on that is ready."""
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
        """Bring an item, as part of a flush perhaps; return the number of the one that stays."""
        for _ in self.credit:
            stays = self._append(item)
            break
        else:
            stays = yield from self._enqueue_slow(item, inside)
        caller.accepted = True
        return stays

    def enqueue_nowait(self, caller: Caller, item: Item) -> Steps:
        """Bring an item without waiting."""
        for _ in chain(self.credit, self.overdraft):
            stays = self._append(item)
            break
        else:
            key, weight = self._measure(item, None)
            admission = self._core.admission
            admission.check_room(admission.need_of(item, key, weight))
            stays = self._accept(item, key, weight)
        caller.accepted = True
        yield from ()  # it is a generator as the others are
        return stays

    def submit(self, caller: Caller, item: Item) -> Steps:
        """Bring an item, and keep its completion."""
        stays = yield from self.enqueue(caller, item)
        caller.completion = self._core.receipts.completion_of(item, stays)
        return stays

    def deliver(self, caller: Caller, item: Item) -> Steps:
        """Bring an item, and wait for its end."""
        stays = yield from self.enqueue(caller, item)
        if stays == DISPLACED:
            yield from self.read(self._core.receipts.displaced(item))
        self._core.admission.prolong_burst()
        waiter = Waiter()
        self._core.receipts.watch(self._number(item, stays), waiter)
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
        must_wait, turn = admission.must_wait(need), next(admission.waitlist.turns)
        if not must_wait and admission.must_give_way:
            yield from self._pause(need, inside)
            claim, need = need, admission.need_of(item, key, weight)
            must_wait = not need.is_met_by(claim) and admission.must_wait(need)
        while must_wait:
            yield from self._wait_for_room(inside, need.weight, turn)
            given, need = need, admission.need_now(item, key, weight, need)
            must_wait = need is not given
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
        admission.give_way(need)
        try:
            yield None
        finally:
            admission.come_back(need)
            self.woken = True
        self._core.ending.check_open(inside)

    def _accept(self, item: Item, key: Any, weight: float) -> int | None:
        self._open_burst()
        if self._core.ending.begun:
            self._core.admission.revoke_credit()
        else:
            self.credit, self.overdraft = self._core.admission.grant_credit()
        return self._core.admission.add(item, key, weight)

    def _append(self, item: Item) -> int | None:
        stays = self._core.buffer.append(item)
        self._open_burst()
        return stays

    def _open_burst(self) -> None:
        self.woken = True
        if self._core.admission.opened is None:
            self._core.admission.open_burst(self.now)

    def _number(self, item: Item, stays: int | None) -> int:
        return self._core.buffer.number_of(item, stays)

    # Barriers and ends.

    def flush(self) -> Steps:
        """Wait until all that was accepted by now has ended."""
        core = self._core
        core.ending.check_open(None)
        mark = core.barriers.raise_barrier()
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
                if not core.ending.may_be_hastened(is_owner=owner):
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
        """Start no flush any more, and interrupt those that run."""
        self._core.ending.cut_short(why)
        self._interrupt()

    def reach_limit(self) -> None:
        """The deadline has come."""
        self._core.ending.pass_deadline()
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
        """Make the pass that somebody has asked for; flushes may be begun by it, and end in it."""
        core = self._core
        self.woken = False
        core.observe()
        while (batch := core.next_flush(self._clock)) is not None:
            self.flushes.append(Flush(batch, self._deliver(batch)))
            if call_at_once is not None:
                call_at_once(self.flushes[-1])
        if core.flushes_ended:
            core.observe()
            self.woken |= core.is_due
        if core.ending.begun:
            self._keep_deadline()
        core.respond()
        self.timer = core.wake_at
        self.reports += core.reports
        core.reports.clear()
        if core.ending.finish():
            self.limit = math.inf

    def fire_timer(self) -> None:
        """The timer fires."""
        self._core.timer_fired = max(self.now, self.timer)
        self.timer = math.inf
        self.woken = True

    # Flushes.

    def begin(self, flush: Flush) -> None:
        """Let a flush take its first step; one that was interrupted before takes none."""
        flush.begun = True
        if flush.batch.interrupted:
            flush.over = True
        else:
            self._step_flush(flush, flush.steps.send, None)

    def go_on(self, flush: Flush, answer: object = None) -> None:
        """What a flush wants has come: the answer."""
        self._step_flush(flush, flush.steps.send, answer)

    def fail(self, flush: Flush, error: BaseException) -> None:
        """What a flush wants has failed."""
        self._step_flush(flush, flush.steps.throw, error)

    def end(self, flush: Flush) -> None:
        """A flush that is over is gone."""
        self.end_in_pass(flush)
        self.woken = True

    def end_in_pass(self, flush: Flush) -> None:
        """It is gone within the pass that has started it."""
        flush.told = True
        if not flush.batch.attempts:
            flush.batch.fail(CancelledError("flush_fn was never called"))
        self._core.flush_ended(flush.batch, self.now)

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
        except BaseException as error:  # it goes to the batch
            attempts = self._core.attempts(batch, has_handler=self._handles)
            attempts.raised(error, self.now, may_ask=_may_ask(batch, error))
        else:
            batch.returned()
        while attempts is not None and attempts.next is not None:
            self.woken = True
            yield from self._follow(attempts, batch)

    def _follow(self, attempts: Any, batch: Batch[Item]) -> Generator[Wish, Any, None]:
        """Do what comes next after a failure."""
        wish, answer = attempts.next, None
        if isinstance(wish, Pause):
            yield from self._wait_in_line(attempts, wish.seconds)
            return
        try:
            answer = yield wish
        except BaseException as error:  # it goes to the batch
            match wish:
                case Call():
                    attempts.raised(error, self.now, may_ask=_may_ask(batch, error))
                case Ask():
                    attempts.broke(error)
            return
        match wish:
            case Call():
                attempts.returned(self.now)
            case Ask():
                attempts.judged(answer)

    def _wait_in_line(self, attempts: Any, seconds: float) -> Generator[Wish, Any, None]:
        turn: Waiter = Future()
        self._core.starts.join(turn, attempts, self.now)
        try:
            yield from _until_told(seconds, turn)
        except BaseException as error:  # it goes to the batch
            attempts.cut(error)
        else:
            attempts.paused()
        self._core.starts.leave(turn)


def _until_told(seconds: float, turn: Waiter) -> Generator[Wish, Any, None]:
    """Wait to be told that the call may start."""
    if not turn.done():
        yield Turn(seconds, turn)
    if not turn.result():
        raise CancelledError("cut short between two attempts")


def _may_ask(batch: Batch[Item], error: BaseException) -> bool:
    """Whether the handler may be asked: not about a flush that was interrupted."""
    return isinstance(error, Exception) and not batch.interrupted
