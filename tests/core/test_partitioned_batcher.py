"""The partitioned batcher: failures of policies, and the entries that it keeps."""

from contextlib import nullcontext
from typing import Any

import pytest

from flushq.errors import PolicyError
from flushq.policies import IntervalPolicy
from flushq.policy import Decision, Flush
from tests.contract.hostile import Second
from tests.contract.partitions import Costly, Shared, Watched
from tests.core.test_core import Driver


def partitioned(policy: Any, **options: Any) -> Driver:
    """Return a driver of a core whose partitions are the last two digits of the items."""
    return Driver(policy, partition_key=lambda item: item % 100, **options)


class Failing(Second):
    """A policy that raises in the nth event of one kind, counted over all its copies."""

    def __init__(self, event: str, nth: int, kind: type[BaseException]) -> None:
        self.told = Shared()
        self.event = event
        self.nth = nth
        self.kind = kind

    def decide(self, now: float) -> Decision:
        """Flush at once."""
        return Flush("natural")

    def on_event(self, event: str, now: float) -> None:
        """Note the event, and raise in the nth one."""
        super().on_event(event, now)
        if event == self.event and self.nth == sum(event == told for told, _ in self.told):
            raise self.kind


class Interrupted(Costly):
    """A policy that raises KeyboardInterrupt when it cannot be copied again."""

    error = KeyboardInterrupt()


KINDS = pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt])


def raising(kind: type[BaseException]) -> Any:
    """Expect an interrupt; any other exception of a policy is not raised."""
    return nullcontext() if issubclass(kind, Exception) else pytest.raises(kind)


def ended(driver: Driver) -> Any:
    """Return the two lists of losses of a queue that has failed and ended."""
    batcher = driver.core.batcher
    assert driver.turn()
    assert batcher.failure is not None
    assert (PolicyError, 0) == (batcher.failure.kind, batcher.partitions)
    return batcher.losses.undelivered.items, batcher.losses.in_doubt.items


@KINDS
def test_a_policy_that_fails_while_many_are_told_their_arrivals(kind: type[BaseException]) -> None:
    """If a policy fails at arrivals, all items are undelivered, and no later policy is told."""
    policy = Failing("item_added", 3, kind)
    driver = partitioned(policy)
    driver.accept(*range(150))
    with raising(kind):
        driver.turn()
    assert [("item_added", 0.0)] * 3 == policy.told
    assert (list(range(150)), []) == ended(driver)


def test_an_interrupt_while_a_policy_is_copied() -> None:
    """An interrupt while a policy is copied is raised, and waiting items are undelivered."""
    driver = partitioned(Interrupted(2))
    driver.accept(1, 2, 1)
    with pytest.raises(KeyboardInterrupt):
        driver.turn()
    assert ([1, 2, 1], []) == ended(driver)


@KINDS
def test_a_policy_that_fails_as_its_flush_starts(kind: type[BaseException]) -> None:
    """If a policy fails at a start, its batch is undelivered, and no policy is told more."""
    policy = Failing("flush_started", 2, kind)
    driver = partitioned(policy, max_in_flight=3)
    driver.accept(2, 1, 3, 2, 1)
    with raising(kind):
        driver.turn()
    if not driver.running:  # the batch was taken, and the pass was interrupted
        driver.running = [*driver.core.batcher.running]
        driver.running[0].call([2, 2])
    driver.turn()
    assert 1 == driver.core.batcher.partitions
    told = [*policy.told]
    driver.end()
    assert told == policy.told
    assert ([1, 3, 1], []) == ended(driver)
    assert 2 == driver.core.batcher.delivered


def test_a_policy_that_fails_when_its_facts_are_corrected() -> None:
    """The policies of the other corrected partitions are not asked again."""

    class Failing(Watched):
        def decide(self, now: float) -> Decision:
            decision = super().decide(now)
            if self.queue.pending == 1 and len(self.asked) > 2:
                raise OSError
            return decision

    policy = Failing()
    driver = partitioned(policy)
    driver.accept(1, 2, 101, 102)
    driver.turn()
    batcher = driver.core.batcher
    assert [(0, 1), (1, 2)] == [batcher.displace() for _ in range(2)]
    batcher.announce(0.0)
    assert [2, 2, 1] == [pending for pending, _, _ in policy.asked]
    assert ([101, 102], []) == ended(driver)


# An item that a policy enqueues while policies are told, into a partition whose turn is later.


class Bringing(Watched):
    """A policy whose first event enqueues an item.

    Attributes:
        bring: The function that enqueues the item, in a list that is empty afterwards.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bring = Shared()

    def on_event(self, event: str, now: float) -> None:
        """Note the event, and enqueue the item."""
        super().on_event(event, now)
        if self.bring:
            self.bring.pop()()


class BringingAtOnce(Bringing):
    """The same policy, which flushes at once."""

    def decide(self, now: float) -> Decision:
        """Flush at once."""
        return Flush("natural")


def told_early(policy: Bringing, item: int) -> Driver:
    """Return a driver that has had the items 1 and 2; meanwhile the policy enqueued ``item``."""
    driver = partitioned(policy, max_in_flight=2)
    policy.bring.append(lambda: driver.accept(item))
    driver.accept(1, 2)
    driver.turn()
    return driver


def test_an_item_that_comes_while_policies_are_told_is_told_once() -> None:
    """The item is told in the turn of its partition, and once."""
    policy = Bringing()
    driver = told_early(policy, 2)
    driver.turn()
    assert [("item_added", 0.0)] * 2 == policy.told
    assert [1, 2] == [pending for pending, _, _ in policy.asked]
    assert (3, None) == (len(driver.core.buffer), driver.core.batcher.failure)


def test_an_item_that_was_told_early_and_is_in_flight() -> None:
    """A barrier, and the displacement of another new item, look for an item that waits."""
    driver = told_early(BringingAtOnce(), 102)
    batcher = driver.core.batcher
    assert ([[1], [2, 102]], 0) == ([batch.items for batch in driver.running], batcher.settled)
    driver.accept(3)
    assert (3, 3) == batcher.displace()
    assert not driver.turn()


def test_an_item_that_was_told_early_is_not_news() -> None:
    """If the facts of its policy are corrected before the next pass, the policy is asked again."""
    policy = Bringing()
    driver = told_early(policy, 102)
    assert [(0, 1), (1, 2)] == [driver.core.batcher.displace() for _ in range(2)]
    policy.asked.clear()
    driver.turn()
    assert [1] == [pending for pending, _, _ in policy.asked]


def test_an_item_that_was_told_early_does_not_bring_its_partition_back() -> None:
    """The partition may be removed before the next pass."""
    driver = told_early(Bringing(), 102)
    batcher: Any = driver.core.batcher
    for _ in range(3):
        batcher.displace()
    driver.turn()
    assert (0, {}) == (batcher.partitions, {**batcher._resting})  # noqa: SLF001 - a private line


def test_what_the_heaps_keep_goes_with_the_partitions() -> None:
    """After a thousand partitions were removed, the heaps keep few entries."""
    driver = Driver(IntervalPolicy(1.0), partition_key=lambda item: item)
    driver.accept(*range(1000))
    driver.turn()
    batcher: Any = driver.core.batcher
    batcher.barrier()
    while driver.turn() or driver.running:
        driver.end()
    assert 0 == batcher.partitions
    assert 64 >= max(len(batcher.timers._entries), len(batcher._oldest._entries))  # noqa: SLF001 - the entries are private
