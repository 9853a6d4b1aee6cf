"""Request and response: many callers ask for one key each, and one call answers all of them.

A Batched has a FlushQueue and uses its public interface. The requests of the callers are the items
of this queue. The flush function calls the *loader*, a function of the user, with the keys of a
batch, and writes each answer on its request. If the loader raises, the requests of the batch are
dropped, unless ``on_failure`` decides otherwise. A caller waits in ``deliver``, which returns or
raises when the request has ended. If a caller asks for a key while a request for the same key
waits, the queue treats the new request as a duplicate. Both callers then get the result of the
request that waits.
"""

import inspect
from asyncio import current_task
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from operator import attrgetter
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from flushq.aio.calls import OnFailure
from flushq.aio.queue import FlushQueue
from flushq.arguments import check_callable, check_handler, check_sync_callable, shown
from flushq.core.displacing import WhenFull
from flushq.errors import Displaced, ItemFailed
from flushq.outcomes import Drop, Failure, Verdict
from flushq.policy import FlushPolicy
from flushq.requests import ANYBODY, Request, about_keys, fail, match, of_key, wanted
from flushq.telling import OnReport
from flushq.throttles import Throttle

DROP = Drop()

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Loader = Callable[[list[K]], Awaitable[Sequence[V | BaseException] | Mapping[K, V | BaseException]]]


class Batched(Generic[K, V]):
    """A function of one key, made from a function of many keys: ``value = await batched(key)``.

    Use it as ``async with Batched(load, policy) as load_one``. The property ``queue`` is the
    :class:`FlushQueue` of the requests, with its methods ``flush``, ``aclose``, ``run`` and
    ``stats``. Its ``undelivered`` and ``in_doubt`` list keys, not requests.

    Args:
        loader: An async callable that takes a list of keys, all different if ``share`` is set. It
            returns a mapping of keys to results, or a sequence with one result for each key, in the
            order of the keys. Those who asked for a key that the mapping lacks get a KeyError. If a
            result is an exception, this exception is raised unchanged to all who asked for its key.
            The loader runs in a copy of the contextvars context in which the queue was started.
        policy: The policy, which decides when to call the loader. The queue runs a deep copy of it.
        share: Whether callers share one result if they ask for a key while a request for the same
            key waits. False: the loader gets the key once for each caller, and a key need not be
            hashable. Use False, for example, if the loader asks a model whose answers are random.
        weigh: A function that returns the weight of a key. Needed for ``max_weight`` of the policy
            and for ``max_queue_weight``.
        partition_key: A function that returns the partition of a key: each call of the loader gets
            keys of one partition only. None: there are no partitions.
        on_failure: The failure handler, as for a FlushQueue. It is called when a call of the loader
            has failed with an Exception, and gets a Failure whose ``items`` are keys. After Drop,
            all who asked for these keys get ItemFailed. Fail ends the queue. Retry calls the loader
            again. Split calls the loader again with each half of the keys. (If there is only one
            key, Split means Fail: to refuse a bad key, return Drop then.) None: every such failure
            means Drop.
        max_queue_size, max_queue_weight, when_full, max_in_flight, max_in_flight_per_partition,
            max_shutdown_wait, throttle, on_report, name: The same as for a :class:`FlushQueue`.
            Callers whose request is displaced get Displaced.

    Raises:
        TypeError, ValueError: The same as for a :class:`FlushQueue`.
    """

    def __init__(
        self,
        loader: Loader[K, V],
        policy: FlushPolicy,
        *,
        share: bool = True,
        weigh: Callable[[K], float] | None = None,
        partition_key: Callable[[K], Hashable] | None = None,
        max_queue_size: int = 10_000,
        max_queue_weight: float | None = None,
        when_full: WhenFull = "wait",
        max_in_flight: int = 1,
        max_in_flight_per_partition: int | None = 1,
        max_shutdown_wait: float | None = None,
        throttle: Throttle | None = None,
        on_failure: OnFailure[K] | None = None,
        on_report: OnReport | None = None,
        name: str | None = None,
    ) -> None:
        check_callable("loader", loader)
        check_handler(on_failure)
        check_sync_callable("weigh", weigh)
        check_sync_callable("partition_key", partition_key)
        self._loader = loader
        self._on_failure = on_failure
        self._label = "" if name is None else f"{name}: "
        self._queue: FlushQueue[Request[K]] = FlushQueue(
            self._load,
            policy,
            dedupe_key=attrgetter("key") if share else None,
            weigh=of_key(weigh),
            partition_key=of_key(partition_key),
            max_queue_size=max_queue_size,
            max_queue_weight=max_queue_weight,
            when_full=when_full,
            max_in_flight=max_in_flight,
            max_in_flight_per_partition=max_in_flight_per_partition,
            max_shutdown_wait=max_shutdown_wait,
            throttle=throttle,
            on_failure=self._judge,
            on_report=on_report,
            name=name,
            lost_as=attrgetter("key"),
        )

    @property
    def queue(self) -> FlushQueue[Any]:
        """The queue that holds the requests."""
        return self._queue

    def __repr__(self) -> str:
        return f"<Batched {self._loader!r} on {self._queue!r}>"

    async def __aenter__(self) -> Self:
        """Start the queue: see :meth:`FlushQueue.__aenter__`."""
        await self._queue.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Answer all callers, and close the queue: see :meth:`FlushQueue.__aexit__`."""
        await self._queue.__aexit__(kind, error, traceback)

    async def __call__(self, key: K) -> V:
        """Ask the loader for one key, together with other callers, and return the result.

        If callers ask for a key while a request for the same key waits, they share one result
        (unless ``share=False``). If all callers of a request are cancelled before the loader is
        called, the loader does not get the key of this request.

        Raises:
            KeyError: The loader returned a mapping without this key.
            ItemFailed: The call of the loader failed, and ``on_failure`` did not ask for another
                call. A call fails if the loader raises, or if its results do not match its keys.
                Each caller gets a new ItemFailed. Its ``__cause__`` is the exception of the loader,
                or tells why the results do not match.
            Displaced: The queue was full and displaced the request.
            FlushFailed, PolicyError, ShutdownTimeout: The queue ended before the answer came.
            FlushqError: The request was not accepted: see :meth:`FlushQueue.enqueue`.
            TypeError: ``share`` is set, and the key cannot be hashed.
            RuntimeError: Called inside the loader, or on another event loop.
            BaseException: The exception that the loader returned for this key.
        """
        own, failed, displaced = Request(key, current_task() or ANYBODY), False, False
        try:
            await self._queue.deliver(own, on_accepted=own.join)
        except Displaced:
            displaced = True
        except ItemFailed:  # request.error, below, is the exception of the loader
            failed = True
        finally:
            request = own.release()
        if displaced:
            raise Displaced(key, self._label)
        if failed:
            raise ItemFailed(key, request.error, self._label)
        result: V = request.result()
        return result

    def _judge(self, failure: Failure[Request[K]]) -> Verdict | Awaitable[Verdict]:
        return DROP if self._on_failure is None else self._on_failure(about_keys(failure))

    async def _load(self, requests: list[Request[K]]) -> None:
        asked = wanted(requests)
        if not asked:
            return
        try:
            results = await _awaitable(self._loader([request.key for request in asked]))
            match(asked, results)
        except BaseException as error:
            fail(asked, error, requests)
            raise


def _awaitable(result: Any) -> Awaitable[Any]:
    if not inspect.isawaitable(result):
        raise TypeError(f"the loader must be async: it returned {shown(result)}")
    return result
