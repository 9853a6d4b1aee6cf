"""The part of throttles, H1 to H5, that both drivers share: each scenario runs with both.

The decisions are tested in `tests/core/test_starts.py`, the throttles in `tests/throttles`.
"""

from typing import Any

from flushq import (
    Failure,
    NaturalPolicy,
    PolicyError,
    Retry,
    ShutdownTimeout,
    Split,
    Verdict,
)
from flushq.throttles import CircuitBreaker, RateLimit, Throttle
from tests.threads.both import Scenarios
from tests.threads.test_contract import Store, raised, started
from tests.threads.worlds import World

on_both = Scenarios()


class TooManyRequests(Exception):
    """The error of an API that must not be called again for ``retry_after`` seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after


class FailsAtEnd(Throttle):
    """A throttle that fails when a call has ended."""

    def call_done(self, now: float, *facts: Any, **more: Any) -> None:
        """Raise an error."""
        raise OSError("out of order")

    def ready_at(self, now: float) -> float:
        """Return the time of the call: a call may always start."""
        return now


class FailsAtSecondCall(Throttle):
    """A throttle that fails when the second call would start."""

    def __init__(self) -> None:
        self.has_started = False

    def call_started(self, now: float, count: int, weight: float = 0.0) -> None:
        """Note that a call has started."""
        self.has_started = True

    def ready_at(self, now: float) -> float:
        """Return the time of the call; after the first call has started, raise an error."""
        if self.has_started:
            raise OSError("out of order")
        return now


async def retry(failure: Failure[Any]) -> Verdict:
    """Return a retry as soon as possible."""
    return Retry()


def since(began: float, store: Store) -> list[float]:
    """Return the times at which the calls started, in seconds since ``began``."""
    return [time - began for time in store.times]


@on_both
async def the_drain_keeps_the_limit(world: World) -> None:
    """During a drain calls start only when the throttle allows it, even if slots are free."""
    store = Store(world)
    queue = world.queue(store, NaturalPolicy(1), throttle=RateLimit(2, 1.0), max_in_flight=4)
    await started(queue, *range(5))
    began = world.now()
    await queue.close()
    assert ([0, 0, 1, 1, 2], list(range(5))) == (since(began, store), sorted(store.items))


@on_both
async def retries_and_halves_are_calls(world: World) -> None:
    """Retries and halves of a split wait for the throttle like new batches, and start first."""

    async def handler(failure: Failure[Any]) -> Verdict:
        return Split() if failure.attempt == 2 else Retry()

    store = Store(world, 0, OSError(), OSError())
    options: dict[str, Any] = {"throttle": RateLimit(1, 1.0), "on_failure": handler}
    queue = await started(world.queue(store, NaturalPolicy(2), **options), 1, 2, 3)
    began = world.now()
    await queue.close()
    assert [[1, 2], [1, 2], [1], [2], [3]] == store.batches
    assert [0, 1, 2, 3, 4] == since(began, store)


@on_both
async def a_breaker_leaves_a_sink_alone(world: World) -> None:
    """A CircuitBreaker gets the end of each call at once: a pause, then a single call follow."""
    store = Store(world, 1, *(OSError() for _ in range(4)))
    options: dict[str, Any] = {"throttle": CircuitBreaker(2, 5.0), "max_in_flight": 2}
    queue = world.queue(store, NaturalPolicy(1), on_failure=retry, **options)
    await started(queue, 1)
    began = world.now()
    await world.sleep(0.5)
    for item in (2, 3, 4):
        await queue.enqueue(item)
    await queue.close()
    assert [0, 0.5, 1, 6.5, 12.5, 13.5, 13.5, 14.5] == since(began, store)
    assert ([1, 2, 1, 2, 1], [2, 3, 4]) == (store.items[:5], sorted(store.items[5:]))


@on_both
async def a_hold_is_for_all(world: World) -> None:
    """A Retry with hold delays all other calls; after the pause retries start first."""

    async def handler(failure: Failure[Any]) -> Verdict:
        return Retry(5.0, hold=True)

    store = Store(world, 1, OSError())
    queue = world.queue(store, NaturalPolicy(1), max_in_flight=2, on_failure=handler)
    await started(queue, 1)
    began = world.now()
    await world.sleep(2)
    await queue.enqueue(2)
    await queue.enqueue(3)
    await queue.close()
    assert ([0, 6, 6, 7], [1, 3]) == (since(began, store), [store.items[0], store.items[3]])
    assert [1, 2] == sorted(store.items[1:3])


@on_both
async def the_limit_of_a_close_cuts_the_waiting_short(world: World) -> None:
    """At the limit a batch that waits for a retry is in doubt, and the rest is undelivered."""
    store = Store(world, 0, OSError())
    options: dict[str, Any] = {"throttle": RateLimit(1, 9.0), "on_failure": retry}
    queue = world.queue(store, NaturalPolicy(2), max_shutdown_wait=4.0, **options)
    await started(queue, 1, 2, 3, 4, 5)
    await world.sleep(1)
    began = world.now()
    error = await raised(queue.close())
    assert (ShutdownTimeout, began + 4) == (type(error), world.now())
    assert ([1, 2], [3, 4, 5], [[1, 2]]) == (queue.in_doubt, queue.undelivered, store.batches)


@on_both
async def a_throttle_that_fails_by_a_call_that_was_cut_short(world: World) -> None:
    """A throttle that fails at the end of an abandoned call ends the queue; deliver() raises."""
    store = Store(world, 9)
    queue = world.queue(store, NaturalPolicy(1), throttle=FailsAtEnd(), max_shutdown_wait=4.0)
    await started(queue)
    delivering = world.go(raised(queue.deliver(1)))
    await world.sleep(1)
    outcome = await raised(queue.close())
    assert [PolicyError, PolicyError] == [type(outcome), type(await delivering)]
    assert [1] == queue.in_doubt


@on_both
async def the_limit_comes_although_nothing_runs(world: World) -> None:
    """A drain that waits for the throttle alone ends at its limit."""
    store = Store(world)
    queue = world.queue(store, NaturalPolicy(), throttle=RateLimit(1, 9.0), max_shutdown_wait=4.0)
    await started(queue, 1)
    await world.sleep(1)
    await queue.enqueue(2)
    began = world.now()
    error = await raised(queue.close())
    assert (ShutdownTimeout, began + 4) == (type(error), world.now())
    assert ([[1]], [2]) == (store.batches, queue.undelivered)


@on_both
async def a_throttle_that_fails_ends_the_queue(world: World) -> None:
    """No call starts after a throttle has failed; a batch that waits for a retry is in doubt."""
    store = Store(world, 1, OSError())
    throttle = FailsAtSecondCall()
    options: dict[str, Any] = {"throttle": throttle, "max_in_flight": 2, "on_failure": retry}
    queue = await started(world.queue(store, NaturalPolicy(1), **options), 1)
    await world.sleep(3)
    error: Any = await raised(queue.close())
    assert (PolicyError, "out of order") == (type(error), str(error.__cause__))
    assert ([1], [[1]]) == (queue.in_doubt, store.batches)


@on_both
async def each_queue_has_the_whole_limit(world: World) -> None:
    """Each queue, also that of a Batched, has its own copy of the throttle."""
    limit, calls = RateLimit(1, 5.0), list[float]()

    async def load(keys: list[int]) -> list[int]:
        calls.append(world.now() - began)
        return keys

    began = world.now()
    for _ in range(2):
        async with world.batched(load, NaturalPolicy(1), throttle=limit) as load_one:
            asking = [world.go(load_one(key)) for key in (1, 2)]
            assert [1, 2] == [await each for each in asking]
    assert [0, 5, 5, 10] == calls


class Api:
    """An API that answers every call with Retry-After for ``seconds`` seconds.

    Attributes:
        calls: The number of calls that it got.
    """

    def __init__(self, world: World, seconds: float) -> None:
        self.calls = 0
        self._world = world
        self._closed_until = world.now() + seconds
        self._allowed = world.now()

    async def __call__(self, batch: list[int]) -> None:
        """Check that the API allows a call now, and count it."""
        now = self._world.now()
        assert self._allowed <= now
        self.calls += 1
        if now < self._closed_until:
            self._allowed = now + 7.0
            raise TooManyRequests(7.0)


async def obey(failure: Failure[Any]) -> Verdict:
    """Return the retry that the API asks for."""
    error: Any = failure.error
    return Retry(error.retry_after, hold=True)


@on_both
async def an_api_that_refuses_everything(world: World) -> None:
    """For ten minutes an API gets only the calls that it allows, and no item is lost."""
    api = Api(world, 600.0)
    options: dict[str, Any] = {"max_in_flight": 4, "max_shutdown_wait": 3.0, "on_failure": obey}
    queue = world.queue(api, NaturalPolicy(10), throttle=RateLimit(1, 1.0), **options)
    await started(queue)
    for number in range(12):
        await queue.enqueue(number)
        await world.sleep(50)
    stats = queue.stats()
    assert (12, 0) == (stats.pending + stats.in_flight + stats.delivered, stats.dropped)
    assert 600 // 7 <= api.calls <= 600 // 7 + 1 + stats.delivered
    closed = world.now()
    error: Any = await raised(queue.close())
    assert (ShutdownTimeout, closed + 3) == (type(error), world.now())
    lost = sorted([*error.undelivered, *error.in_doubt])
    assert list(range(queue.stats().delivered, 12)) == lost


test_in_asyncio, test_in_threads, test_in_threads_that_lose_their_turn_anywhere = on_both.tests(
    preempted=50
)
