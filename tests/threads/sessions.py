"""Random sessions of the queue for threads, and a checker that knows what may come of them.

    python -m tests.threads.sessions                    1,000 sessions on the stage
    python -m tests.threads.sessions 100000 --seed 7    so many, from this seed on
    python -m tests.threads.sessions 2000 --real        with real threads, in real time
    python -m tests.threads.sessions 1 --seed 4711      one again

A session is a queue with random arguments, producers that use it in every way, with timeouts and
interrupts, a sink that takes its time and fails, and somebody who closes the queue at any time. On
the stage a seed makes the same session again. `plans` draws what a queue has beside the usual, and
`verdicts` tells what is wrong.
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
    """What has happened.

    Attributes:
        seed: What decides all of it.
        spawn: Starts a thread, and returns what has ``join``.
        sleep: Lets time pass.
        now: The time, on the stage.
        second: The unit of time.
        accepted: The items that a call has accepted.
        unknown: Items of a deliver() that has timed out.
        handed: The batches that flush_fn was called with.
        times: When it was called.
        running: The partitions of the flushes that run.
        flaws: What was seen to be wrong.
        told: What a caller was told of an item.
        errors: What the close has raised.
        most: How many flushes may run at a time.
        plan: What it is drawn to do beside the usual.
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
    told: dict[Item, BaseException | None] = attrs.field(factory=dict)
    errors: list[BaseException] = attrs.field(factory=list)
    most: int = 1
    _size: int = 0
    plan: Plan = attrs.field(init=False)
    queue: FlushQueue[Item] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.plan = draw_plan(self.seed, self.second)

    @property
    def is_on_stage(self) -> bool:
        """Whether the time is known."""
        return self.now is not float

    def run(self) -> None:
        """Play it, and check what has come of it."""
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
            self._look_around(batch)
            self._work(draw, badness)
        finally:
            self.running.remove(partition)

    def _look_around(self, batch: list[Item]) -> None:
        """What holds at every moment, where more than the usual is played."""
        plan, partitions = self.plan, {item.partition for item in batch}
        if len(self.running) > self.most:
            self.flaws.append(f"{len(self.running)} flushes run")
        if plan.is_partitioned:
            of_mine = self.running.count(batch[0].partition)
            if len(partitions) > 1 or of_mine > (plan.partitions or self.most):
                self.flaws.append(f"a flush of {batch}, beside {of_mine - 1} of its partition")
        self._look_at_stats()

    def _look_at_stats(self) -> None:
        """The account adds up, and what waits is within its bounds."""
        if self.plan == PLAIN:
            return
        stats, weight = self.queue.stats(), self.queue._core.batcher.weight  # noqa: SLF001 - nobody tells of it
        ends = stats.delivered + stats.dropped + stats.undelivered + stats.in_doubt
        left = stats.duplicates + stats.displaced + stats.pending + stats.in_flight
        if stats.accepted != ends + left or stats.pending > self._size:
            self.flaws.append(f"{stats}")
        if weight > (self.plan.most_weight or weight):
            self.flaws.append(f"what waits weighs {weight}")

    def _work(self, draw: random.Random, badness: float) -> None:
        self.sleep(self.second * draw.choice([0, 0, 0.3, 1]))
        if draw.random() < badness * 0.4:
            raise draw.choice([OSError("no disk"), PartialFailure({0: OSError("this one")})])

    def _produce(self, queue: FlushQueue[Item], name: int, draw: random.Random) -> None:
        for number in range(draw.randint(1, 6)):
            item, timeout = Item.of(name, number), draw.choice([None, None, 0, 0.4 * self.second])
            self.sleep(self.second * draw.choice([0, 0, 0, 0.2]))
            try:
                self._bring(queue, item, timeout, draw)
            except (TimeoutError, QueueFull, Interrupt):
                continue
            except ItemTooLarge:
                if self.plan.merge is not fold:
                    self.flaws.append(f"{item} is too large")
            except (QueueClosed, QueueEnded):
                return

    def _bring(
        self, queue: FlushQueue[Item], item: Item, timeout: float | None, draw: random.Random
    ) -> None:
        way = draw.randrange(6)
        if way == 0:
            self._at_once(partial(queue.enqueue_nowait, item))
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
            self._at_once(partial(queue.enqueue, item, timeout))
            self.accepted.append(item)

    def _at_once(self, call: Callable[[], object]) -> None:
        """Nobody waits for room, or is refused, where items are displaced instead."""
        try:
            call()
            self._look_at_stats()
        except (TimeoutError, QueueFull) as error:
            if self.plan.displaces:
                self.flaws.append(f"a call raised {error!r}")
            raise

    def _ask(self, item: Item, ask: Callable[[float | None], object], timeout: Any) -> None:
        try:
            ask(timeout)
        except (ItemFailed, ShutdownTimeout) as error:
            self.told[item] = error
        else:
            self.told[item] = None


def play_on_stage(seed: int, preempt: float = 0.0) -> None:
    """Play a session on the stage."""

    def body(stage: Stage) -> None:
        Session(seed, stage.spawn, stage.sleep, lambda: stage.now).run()

    play(body, seed, preempt=preempt)


def play_for_real(seed: int) -> None:
    """Play a session with real threads; what is a second on the stage is a millisecond."""

    def spawn(work: Callable[[], object]) -> threading.Thread:
        thread = threading.Thread(target=work)
        thread.start()
        return thread

    Session(seed, spawn, time.sleep, second=0.001).run()


def main() -> None:
    """Play many, and tell of the first that is wrong by its seed."""
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
    print(f"{options.count} sessions, nothing wrong")  # noqa: T201 - a program


if __name__ == "__main__":
    main()
