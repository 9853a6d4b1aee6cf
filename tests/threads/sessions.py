"""Random sessions of the queue for threads, and a checker that knows what may come of them.

    python -m tests.threads.sessions                    1,000 sessions on the stage
    python -m tests.threads.sessions 100000 --seed 7    so many, from this seed on
    python -m tests.threads.sessions 2000 --real        with real threads, in real time
    python -m tests.threads.sessions 1 --seed 4711      one again

A session is a queue with random arguments, producers that use it in every way, with timeouts and
interrupts, a sink that takes its time and fails, and somebody who closes the queue at any time. On
the stage a seed makes the same session again.
"""

import argparse
import gc
import logging
import random
import threading
import time
from collections import Counter
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
from tests.threads.stage import Stage, play
from tests.threads.support import Interrupt

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
        told: What a caller was told of an item.
        errors: What the close has raised.
        most: How many flushes may run at a time.
    """

    seed: int
    spawn: Callable[[Callable[[], object]], Any]
    sleep: Callable[[float], object]
    now: Callable[[], float] = float
    second: float = 1.0
    accepted: list[Any] = attrs.field(factory=list)
    unknown: list[Any] = attrs.field(factory=list)
    handed: list[list[Any]] = attrs.field(factory=list)
    told: dict[Any, BaseException | None] = attrs.field(factory=dict)
    errors: list[BaseException] = attrs.field(factory=list)
    most: int = 1

    def run(self) -> None:
        """Play it, and check what has come of it."""
        draw = random.Random(self.seed)
        options = self._options(draw)
        self.most = options["max_in_flight"]
        policy: FlushPolicy = draw.choice([NaturalPolicy(3), IntervalPolicy(self.second, 4)])
        queue: FlushQueue[Any] = FlushQueue(partial(self._flush, draw.random()), policy, **options)
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
        self._check(queue)

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
            options["dedupe_key"] = lambda item: item[1] % 3
        if draw.random() < 0.3:
            options["on_report"] = lambda _: None
        return options

    def _flush(self, badness: float, batch: list[Any]) -> None:
        self.handed.append(list(batch))
        draw = random.Random(repr((self.seed, len(self.handed))))
        self.sleep(self.second * draw.choice([0, 0, 0.3, 1]))
        if draw.random() < badness * 0.4:
            raise draw.choice([OSError("no disk"), PartialFailure({0: OSError("this one")})])

    def _produce(self, queue: FlushQueue[Any], name: int, draw: random.Random) -> None:
        for number in range(draw.randint(1, 6)):
            item, timeout = (name, number), draw.choice([None, None, 0, 0.4 * self.second])
            self.sleep(self.second * draw.choice([0, 0, 0, 0.2]))
            try:
                self._bring(queue, item, timeout, draw)
            except (TimeoutError, QueueFull, Interrupt):
                continue
            except (QueueClosed, QueueEnded):
                return

    def _bring(
        self, queue: FlushQueue[Any], item: Any, timeout: float | None, draw: random.Random
    ) -> None:
        way = draw.randrange(6)
        if way == 0:
            queue.enqueue_nowait(item)
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
            queue.enqueue(item, timeout)
            self.accepted.append(item)

    def _ask(self, item: Any, ask: Callable[[float | None], object], timeout: Any) -> None:
        try:
            ask(timeout)
        except (ItemFailed, ShutdownTimeout) as error:
            self.told[item] = error
        else:
            self.told[item] = None

    # What may have come of it.

    def _check(self, queue: FlushQueue[Any]) -> None:
        stats = queue.stats()
        lost = [*queue.undelivered, *queue.in_doubt]
        ends = stats.delivered + stats.dropped + stats.undelivered + stats.in_doubt
        assert stats.accepted == stats.duplicates + ends, stats
        assert (0, 0, 0) == (stats.pending, stats.in_flight, stats.waiting), stats
        assert len(self.accepted) <= stats.accepted <= len(self.accepted) + len(self.unknown)
        assert not Counter(lost) - Counter(set(lost)), "an item is listed twice"
        handed = {item for batch in self.handed for item in batch}
        assert not handed & set(queue.undelivered)
        assert handed >= set(queue.in_doubt)
        assert all(batch and len(batch) <= 4 for batch in self.handed)
        known = {*self.accepted, *self.unknown}
        assert handed | set(lost) <= known
        missing = set(self.accepted) - handed - set(lost)
        assert len(missing) <= stats.duplicates, missing
        assert bool(self.errors) == bool(lost or queue.state == "failed")
        for item, error in self.told.items():
            assert (error is None) or item not in handed or not isinstance(error, QueueClosed)
            assert error is not None or stats.duplicates or item in handed
        in_order = [queue.undelivered, queue.in_doubt, *self.handed]
        if self.most == 1:
            in_order.append(list(dict.fromkeys(item for batch in self.handed for item in batch)))
        for order in in_order:
            for name in {item[0] for item in order}:
                numbers = [number for who, number in order if who == name]
                assert numbers == sorted(numbers), order


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
