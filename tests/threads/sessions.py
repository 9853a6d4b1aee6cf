"""Random sessions of the queue for threads, and a check of their results.

    python -m tests.threads.sessions                    1,000 sessions on the stage
    python -m tests.threads.sessions 100000 --seed 7    100,000 sessions, with seeds from 7 on
    python -m tests.threads.sessions 2000 --real        with real threads, in real time
    python -m tests.threads.sessions 1 --seed 4711      one session again

A session is a queue with random arguments, producers that use the queue in every way, with timeouts
and interrupts, a sink that is slow and fails, and a main thread that closes the queue at a random
time. On the stage a seed repeats the same session. `plans` draws the special options of a queue,
and `verdicts` checks the results.
"""

import argparse
import gc
import logging
import random
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs

from flushq import (
    Drop,
    Fail,
    FlushPolicy,
    IntervalPolicy,
    ItemFailed,
    ItemTooLarge,
    NaturalPolicy,
    PartialFailure,
    QueueClosed,
    QueueEnded,
    QueueFull,
    Retry,
    ShutdownTimeout,
    Split,
)
from flushq.threads import FlushQueue
from tests.threads.plans import PLAIN, Item, Plan, draw_plan, fold
from tests.threads.stage import Stage, play
from tests.threads.support import Interrupt
from tests.threads.verdicts import check

VERDICTS: list[Any] = [Drop, Drop, Retry, Split, Split, Fail]


@attrs.define(eq=False)
class Session:
    """A session, and a record of its events.

    Attributes:
        seed: The seed that decides everything.
        spawn: A function that starts a thread, and returns an object with ``join``.
        sleep: A function that sleeps.
        now: A function that returns the time; without a stage, it always returns 0.
        second: The unit of time, in seconds.
        accepted: The items that a call has accepted.
        unknown: The items of calls of deliver(), which may have timed out.
        handed: The batches that flush_fn was called with.
        times: The times of these calls.
        running: The partitions of the flushes that run.
        flaws: The errors that were found during the session.
        results: The exception that a receipt or deliver() raised for an item; None: it returned.
        errors: The exceptions that the close has raised.
        most: The ``max_in_flight`` of the queue.
        plan: The special options of the queue.
        queue: The queue.
    """

    seed: int
    spawn: Callable[[Callable[[], object]], Any]
    sleep: Callable[[float], object]
    now: Callable[[], float] = float
    second: float = 1.0
    accepted: list[Item] = attrs.field(factory=list)
    unknown: list[Item] = attrs.field(factory=list)
    handed: list[list[Item]] = attrs.field(factory=list)
    times: list[float] = attrs.field(factory=list)
    running: list[int] = attrs.field(factory=list)
    flaws: list[str] = attrs.field(factory=list)
    results: dict[Item, BaseException | None] = attrs.field(factory=dict)
    errors: list[BaseException] = attrs.field(factory=list)
    most: int = 1
    _size: int = 0
    plan: Plan = attrs.field(init=False)
    queue: FlushQueue[Item] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.plan = draw_plan(self.seed, self.second)

    @property
    def is_on_stage(self) -> bool:
        """Whether the session runs in virtual time, so that times can be checked."""
        return self.now is not float

    def run(self) -> None:
        """Run the session, and check its results."""
        draw = random.Random(self.seed)
        options = self._options(draw)
        self.most, self._size = options["max_in_flight"], options["max_queue_size"]
        policy: FlushPolicy = draw.choice([NaturalPolicy(3), IntervalPolicy(self.second, 4)])
        self.queue = queue = FlushQueue(partial(self._flush, draw.random()), policy, **options)
        if draw.random() < 0.8:
            queue.start()
        seeds = [draw.random() for _ in range(draw.randint(1, 4))]
        threads = [
            self.spawn(partial(self._produce, queue, name, random.Random(seed)))
            for name, seed in enumerate(seeds)
        ]
        if draw.random() < 0.7 and queue.state != "new":
            for thread in threads:
                thread.join()
        self.sleep(5 * self.second * draw.random())
        began, limit = self.now(), options["max_shutdown_wait"]
        try:
            queue.close()
        except QueueEnded as error:
            self.errors.append(error)
        assert limit is None or self.now() <= began + limit, "the close took too long"
        for thread in threads:
            thread.join()
        check(self, queue)

    def _options(self, draw: random.Random) -> dict[str, Any]:
        options: dict[str, Any] = {
            "max_queue_size": draw.choice([1, 2, 5]),
            "max_in_flight": draw.choice([1, 1, 2, 3]),
            "max_shutdown_wait": draw.choice([None, None, 0, 2 * self.second]),
        }
        if draw.random() < 0.6:
            verdicts = [*VERDICTS, Retry(self.second / 2)]
            options["on_failure"] = lambda _: draw.choice(verdicts)
        if draw.random() < 0.3:
            options["dedupe_key"] = lambda item: item.key
        if draw.random() < 0.3:
            options["on_report"] = lambda _: None
        return options | self.plan.options()

    def _flush(self, badness: float, batch: list[Item]) -> None:
        self.handed.append(list(batch))
        self.times.append(self.now())
        draw = random.Random(repr((self.seed, len(self.handed))))
        partition = batch[0].partition
        self.running.append(partition)
        try:
            self._check_flush(batch)
            self._work(draw, badness)
        finally:
            self.running.remove(partition)

    def _check_flush(self, batch: list[Item]) -> None:
        """Check the limits of flushes that run at a time, the partition of a batch, and stats()."""
        plan, partitions = self.plan, {item.partition for item in batch}
        if len(self.running) > self.most:
            self.flaws.append(f"{len(self.running)} flushes run at a time")
        if plan.is_partitioned:
            of_mine = self.running.count(batch[0].partition)
            if len(partitions) > 1 or of_mine > (plan.partitions or self.most):
                self.flaws.append(f"a flush of {batch}, and {of_mine - 1} others of its partition")
        self._check_stats()

    def _check_stats(self) -> None:
        """Check that the account adds up, and that the items that wait are within the bounds."""
        if self.plan == PLAIN:
            return
        stats, weight = self.queue.stats(), self.queue._core.batcher.weight  # noqa: SLF001 - it is not public
        ends = stats.delivered + stats.dropped + stats.undelivered + stats.in_doubt
        left = stats.duplicates + stats.displaced + stats.pending + stats.in_flight
        if stats.accepted != ends + left or stats.pending > self._size:
            self.flaws.append(f"the account is wrong: {stats}")
        if weight > (self.plan.most_weight or weight):
            self.flaws.append(f"the items that wait weigh {weight}")

    def _work(self, draw: random.Random, badness: float) -> None:
        self.sleep(self.second * draw.choice([0, 0, 0.3, 1]))
        if draw.random() < badness * 0.4:
            raise draw.choice([OSError("no disk"), PartialFailure({0: OSError("this one")})])

    def _produce(self, queue: FlushQueue[Item], name: int, draw: random.Random) -> None:
        for number in range(draw.randint(1, 6)):
            item, timeout = Item.of(name, number), draw.choice([None, None, 0, 0.4 * self.second])
            self.sleep(self.second * draw.choice([0, 0, 0, 0.2]))
            try:
                self._use(queue, item, timeout, draw)
            except (TimeoutError, QueueFull, Interrupt):
                continue
            except ItemTooLarge:
                if self.plan.merge is not fold:
                    self.flaws.append(f"{item} is too large")
            except (QueueClosed, QueueEnded):
                return

    def _use(
        self, queue: FlushQueue[Item], item: Item, timeout: float | None, draw: random.Random
    ) -> None:
        way = draw.randrange(6)
        if way == 0:
            self._make(partial(queue.enqueue_nowait, item))
            self.accepted.append(item)
        elif way == 1:
            receipt = queue.submit(item, timeout)
            self.accepted.append(item)
            self._ask(item, receipt.result, timeout)
        elif way == 2:
            self.unknown.append(item)
            self._ask(item, partial(queue.deliver, item), timeout)
        elif way == 3:
            queue.flush(timeout)
        else:
            self._make(partial(queue.enqueue, item, timeout))
            self.accepted.append(item)

    def _make(self, call: Callable[[], object]) -> None:
        """Make a call; a TimeoutError or QueueFull is a flaw if the queue displaces items."""
        try:
            call()
            self._check_stats()
        except (TimeoutError, QueueFull) as error:
            if self.plan.displaces:
                self.flaws.append(f"a call raised {error!r}")
            raise

    def _ask(self, item: Item, ask: Callable[[float | None], object], timeout: Any) -> None:
        try:
            ask(timeout)
        except (ItemFailed, ShutdownTimeout) as error:
            self.results[item] = error
        else:
            self.results[item] = None


def play_on_stage(seed: int, preempt: float = 0.0) -> None:
    """Run a session on the stage."""

    def body(stage: Stage) -> None:
        Session(seed, stage.spawn, stage.sleep, lambda: stage.now).run()

    play(body, seed, preempt=preempt)


def play_for_real(seed: int) -> None:
    """Run a session with real threads; a second on the stage is a millisecond here."""

    def spawn(work: Callable[[], object]) -> threading.Thread:
        thread = threading.Thread(target=work)
        thread.start()
        return thread

    Session(seed, spawn, time.sleep, second=0.001).run()


def main() -> None:
    """Run many sessions, and print the seed of the first one that fails."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("count", type=int, nargs="?", default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--preempt", type=float, default=0.0)
    options = parser.parse_args()
    logging.disable()
    gc.set_threshold(50_000)
    for seed in range(options.seed, options.seed + options.count):
        try:
            play_for_real(seed) if options.real else play_on_stage(seed, options.preempt)
        except BaseException:
            print(f"seed {seed}")  # noqa: T201 - a program
            raise
    print(f"{options.count} sessions, no failure")  # noqa: T201 - a program


if __name__ == "__main__":
    main()
