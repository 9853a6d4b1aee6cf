"""The Runner of a Core in threads: passes, workers that run the flushes, and the keeper.

Every event asks for a pass, and any thread that holds the lock may make one. The keeper
(flushq.threads.keeper) makes a pass whenever it is woken or a decision is due. It also hands out
reports and log records, and ends the queue. A worker whose flush has ended makes the next pass
itself, so a queue under load need not wait for another thread. An idle queue wakes no thread.
If no thread can be started for a flush, as at interpreter shutdown, the keeper calls flush_fn.
"""

import math
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial
from typing import Generic, TypeVar

from flushq import telling
from flushq.arguments import as_float, check_sync_callable
from flushq.core.batch import Batch
from flushq.core.core import Core
from flushq.inside import flush_inside
from flushq.threads import primitives, process
from flushq.threads.calls import Calls, FlushFn, OnFailure, RunningFlush
from flushq.threads.entrance import Entrance
from flushq.threads.keeper import Keeper
from flushq.threads.primitives import Waiter
from flushq.threads.unstarted import Unstarted
from flushq.threads.workers import Worker, Workers

T = TypeVar("T")
Step = Callable[[Waiter], object]


class Runner(Generic[T]):
    """The part of a queue that works in threads.

    Args:
        core: The core of the queue.
        flush_fn: The flush function.
        on_failure: The failure handler. None: every failure ends the queue.
        on_report: A function that is called with the report of each flush. None: no reports.
        is_plain: Whether items have no keys, no weights and no partitions.
        context: The contextvars context of the flushes, if the queue runs without :meth:`start`, as
            in the child of a fork. None: an empty context.

    Raises:
        TypeError: ``flush_fn``, ``on_failure`` or ``on_report`` cannot be called, or is async.

    Attributes:
        entrance: The lock of the queue, and the way in for items.
        context: The context in which :meth:`start` was called. Each flush runs in a copy of it.
    """

    def __init__(
        self,
        flush_fn: FlushFn[T],
        on_failure: OnFailure[T] | None,
        on_report: telling.OnReport | None,
        is_plain: bool,  # noqa: FBT001 - a fact, not a switch
        core: Core[T],
        context: Context | None,
    ) -> None:
        check_sync_callable("on_report", on_report)
        self._core = core
        self._on_report = on_report
        self.entrance: Entrance[T] = Entrance(
            core,
            is_plain=is_plain,
            wake=self.wake,
            wait_for=self.wait_for,
            may_wait=self.may_wait,
            lacks_keeper=self.lacks_keeper,
            start_keeper=self.start_keeper,
        )
        self.context = Context() if context is None else context
        self._belongs_to_parent = self._is_unreferenced = False
        self._why_cut: str | None = None
        self._unstarted = Unstarted(core)
        self._keeper = Keeper(f"flushq{core.name}", self.entrance.locked, self._round)
        self._calls = Calls(core, flush_fn, on_failure, self.wake, self._keeper.wait)
        self._workers: Workers[T] = Workers(f"flushq{core.name}", self._run_flush)
        self._running_flushes: dict[Batch[T], RunningFlush[T]] = {}
        self._inline: deque[RunningFlush[T]] = deque()
        process.drain_at_end(self)

    # The caller.

    def inside(self) -> Batch[T] | None:
        """Return the running flush of this queue that the caller is inside of, or None."""
        return flush_inside(self._core.batcher)

    def may_wait(self) -> bool:
        """Return whether the caller may wait: the keeper and a worker outside flush_fn may not."""
        is_finalizer = self._workers.is_caller and self.inside() is None
        return not (is_finalizer or self._keeper.is_caller)

    def check_not_inside(self, what: str) -> None:
        """Raise RuntimeError in flush_fn or on_report, where the wait ``what`` would never end."""
        self._core.check_not_inside(self.inside(), what)
        if not self.may_wait():
            where = "in a thread of the same queue, as in on_report, is not allowed: the thread"
            raise RuntimeError(f"{self._core.label}{what} {where} would wait for itself")

    def belongs_to_parent(self) -> bool:
        """Return whether this process is the child of a fork, and its parent made the runner."""
        return self._belongs_to_parent

    def wait(self, until: float, join: Step, leave: Step) -> bool:
        """Wait with a new waiter, at most until ``until``; return whether it was completed."""
        waiter = Waiter()
        try:
            self.entrance.locked(join, waiter)
            self.wait_for(waiter, until)
        finally:
            self.entrance.locked(leave, waiter)
        return waiter.done()

    def wait_for(self, waiter: Waiter, until: float) -> None:
        """Wait until the waiter is completed, or until the time ``until``."""
        if not self._core.batcher.started and self._unstarted.wait(waiter, until):
            return
        if self.lacks_keeper():
            self._keeper.make_rounds_if_needed(waiter, until)
        waiter.wait(until)

    # Start and close.

    def start(self) -> None:
        """Start the queue; flush_fn will run in copies of the context of the caller."""
        self.entrance.locked(self._start)

    def _start(self) -> None:
        context = copy_context()
        self.entrance.revoke_credit()  # so the next producer starts the keeper, if there is none
        self._core.ending.start()
        self.context = context
        if self._core.buffer or self._core.admission.waitlist.line:
            self.wake()

    def close(self, default_wait: float = math.inf) -> None:
        """Begin a drain of at most ``max_shutdown_wait`` seconds (if None: ``default_wait``)."""
        self.entrance.locked(self._close, default_wait)

    def _close(self, default_wait: float) -> None:
        ending, now = self._core.ending, primitives.clock()
        if not ending.closing and not self._core.batcher.started:
            self._start()
        self._core.close()
        self.entrance.revoke_credit()
        if ending.deadline is None or default_wait < ending.deadline - now == math.inf:
            ending.set_deadline(now, default_wait=default_wait)
        self.wake()

    def stop(self, why: str) -> None:
        """Let the next pass close the queue and abandon its flushes; from then on none starts."""
        self._why_cut = why
        self.entrance.locked(self.wake)

    def _enforce_deadline(self) -> None:
        """Abandon the running flushes if stop() was called, or if the deadline has come."""
        ending, now = self._core.ending, primitives.clock()
        if not ending.has_begun or ending.ended:
            return
        deadline = ending.set_deadline(now) if ending.deadline is None else ending.deadline
        if self._why_cut is not None:
            ending.stop(self._why_cut)
            self._abandon()
        elif deadline <= now:
            ending.stop_at_deadline()
            self._abandon()

    def _abandon(self) -> None:
        for flush in self._running_flushes.values():
            flush.abandon()
            self._core.note_flush_end(flush.batch, primitives.clock())
        self._running_flushes.clear()
        self.wake()

    def drain_unreferenced(self) -> bool:
        """Ask the keeper to drain the unreferenced queue; return whether there is a keeper.

        This takes no lock, because the finalizer that calls it may interrupt any step.
        """
        self._is_unreferenced = True
        self._keeper.wake()
        return self._keeper.is_there

    def stop_in_child(self) -> None:
        """Stop all work of this runner, in the child of a fork."""
        self._belongs_to_parent = True
        self.entrance.replace_lock()

    # The end, for the callers that wait for it.

    def wait_for_end(self, *, owner: bool) -> None:
        """Wait until the queue and its threads have ended, except threads of abandoned flushes."""
        self._wait_for_end(math.inf, owner=owner)
        self._keeper.join()
        self._workers.join()

    @property
    def is_open(self) -> bool:
        """Whether the queue must be drained at interpreter shutdown."""
        if self._core.ending.ended or (self._is_unreferenced and not self._keeper.is_there):
            return False
        return self._core.batcher.started or bool(self._core.buffer)

    def end_with_interpreter(self, default_wait: float) -> None:
        """Drain until the deadline; then end the queue in this thread and log what was lost."""
        core, locked = self._core, self.entrance.locked
        self._unstarted.warn()
        try:
            self.close(default_wait)
            self._wait_for_end(core.ending.deadline or 0.0, owner=False)
        except BaseException:
            self.stop("interpreter shutdown was interrupted")
            raise
        finally:
            while not core.ending.ended:
                locked(self._pass)  # the keeper is busy if it calls flush_fn itself
                self._log_and_report()
                locked(self._end_or_set_alarm)
            telling.log_loss(core, "the interpreter ends with an open queue")

    def _wait_for_end(self, until: float, *, owner: bool) -> None:
        self.wait(until, partial(self._join_end, owner=owner), self._core.ending.leave)

    def _join_end(self, waiter: Waiter, *, owner: bool) -> None:
        self._core.ending.join(waiter, owner)
        if self._core.ending.ended:
            waiter.set_result(None)
        else:
            self.wake()

    # The keeper.

    def wake(self) -> None:
        """Ask for a pass soon. The lock must be held."""
        process.ensure_drain_at_end()
        self.entrance.needs_keeper = self.lacks_keeper()
        self._keeper.wake()

    def lacks_keeper(self) -> bool:
        """Return whether the queue needs a keeper and has none."""
        return (
            self._core.batcher.started and not self._core.ending.ended and not self._keeper.is_there
        )

    def start_keeper(self) -> None:
        """Start the keeper if a thread can be started. The lock must not be held."""
        self.entrance.needs_keeper = False
        self._keeper.start()

    def _round(self) -> bool:
        """Make a pass, hand out reports and log records; return whether this was the last round."""
        locked = self.entrance.locked
        if self.belongs_to_parent():
            return True
        locked(self._pass)
        self._inline.extend(self._workers.start_new())
        while self._inline:
            self._run_flush(self._inline.popleft())
        self._log_and_report()
        has_ended = self.belongs_to_parent() or locked(self._end_or_set_alarm)
        if has_ended and self._is_unreferenced:
            telling.log_loss(self._core, "an open queue was garbage-collected")
        return has_ended

    def _end_or_set_alarm(self) -> bool:
        """End the queue if nothing is left, else set the alarm; return whether the queue ended."""
        ending = self._core.ending
        self._core.respond()  # answers the callers that came after the pass
        if self._core.reports:
            self._keeper.wake()
        elif ending.has_begun and ending.finish():
            self._workers.end_resting()
            return True
        self._keeper.alarm = self._next_alarm()
        return False

    def _next_alarm(self) -> float:
        deadline = self._core.ending.deadline
        return min(as_float(self._core.wake_at), math.inf if deadline is None else deadline)

    def _log_and_report(self) -> None:
        """Hand out log records and reports. This runs code of the user: do not hold the lock."""
        telling.log_failure(self._core.ending.take_failure())
        telling.log_displaced(self._core, primitives.clock())
        if self._core.reports and self._on_report is not None:
            try:
                telling.hand_out_reports(self._core, self._on_report)
            except (KeyboardInterrupt, SystemExit) as interrupt:  # no caller could handle it
                telling.log_interrupt(self._core, interrupt)

    # The pass; the lock is held.

    def _pass(self) -> None:
        """Make a pass; if the policy or the throttle raises an interrupt, make a second pass."""
        failures = self._core.failures
        try:
            self._pass_once()
        except BaseException:
            if self._core.failures == failures:
                raise
            self._pass_once()

    def _pass_once(self) -> None:
        """Make one pass; flushq.core.core explains the order of its steps."""
        core = self._core
        self.entrance.revoke_credit()
        if (self._is_unreferenced or self._why_cut) and not core.ending.has_begun:
            core.close()
        if core.wake_at <= (now := primitives.clock()):
            core.timer_fired = now
        core.observe()
        self._enforce_deadline()
        while (batch := core.start_next_flush(primitives.clock)) is not None:
            flush = self._running_flushes[batch] = RunningFlush(batch, self.context.copy())
            self._workers.give(flush)
        self._enforce_deadline()  # the policy may have failed only now
        core.respond()

    # Flushes.

    def _run_flush(self, flush: RunningFlush[T], worker: Worker[T] | None = None) -> None:
        """Do the steps of a flush until all its items have ended; then make the next pass."""
        locked, calls = self.entrance.locked, self._calls
        step = locked(calls.first_step, flush)
        while step is not None and not self.belongs_to_parent():
            result = calls.do_step(step, flush)
            step = None if self.belongs_to_parent() else locked(calls.next_step, flush, result)
        if not self.belongs_to_parent():
            locked(self._finish_flush, flush, worker)
            if without_thread := self._workers.start_new():
                self._inline.extend(without_thread)
                self._keeper.wake()
        elif worker is not None:
            self._workers.end(worker)

    def _finish_flush(self, flush: RunningFlush[T], worker: Worker[T] | None) -> None:
        core = self._core
        if self._running_flushes.pop(flush.batch, None) is not None:  # else it was abandoned
            core.note_flush_end(flush.batch, primitives.clock())
        if worker is not None:
            self._workers.rest(worker)
            self._pass()
        must_wake = core.reports or core.ending.has_begun or worker is None
        if must_wake or self._next_alarm() < self._keeper.alarm:
            self.wake()
