"""Request and response: many callers ask for one thing each, one call answers them all.

A Batched uses a FlushQueue as anybody may. The requests of callers are the items, and the flush
function calls the loader and writes each answer on its request. A batch whose loader raises is
dropped, and the next one goes on. A caller delivers its request, so it hears of every end that an
item can come to. Callers with the same key share one request while it waits: to the queue the later
ones are duplicates, and get the request that stayed.
"""

import inspect
from asyncio import current_task
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from operator import attrgetter
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from flushq.aio.calls import OnFailure
from flushq.aio.queue import FlushQueue
from flushq.arguments import check_callable, check_sync_callable, shown
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
    """A function of one key, made of one of many: ``value = await batched(key)``.

    Use it as ``async with Batched(load, policy) as load_one``. It is a :class:`FlushQueue` of
    requests, to be seen as ``queue``: flush, close, run and measure it there. The lists of what was
    lost hold keys.

    Args:
        loader: An async callable that takes a list of different keys, and returns a sequence with
            one result for each, in order, or a mapping. A result that is an exception is raised,
            as it is, to those who asked for this key. It runs in a copy of the context in which the
            queue was started.
        policy: When to call it.
        share: Whether callers who ask for the same key while it waits share one result. If not, the
            loader gets the key once for each, as for a model that samples; then a key need not be
            hashable.
        weigh: The weight of a key. Needed for ``max_weight`` and ``max_queue_weight``.
        partition_key: The partition of a key: keys of one partition are loaded together.
        on_failure: What is to be done when the loader has raised, as of a FlushQueue; ``items`` of
            the Failure are keys. Drop fails the callers of this call with an ItemFailed, Fail ends
            the queue, Retry calls the loader again, and Split does so with each half, which leaves
            all but those whose key is at fault with an answer. None: Drop.
        max_queue_size, max_queue_weight, when_full, max_in_flight, max_in_flight_per_partition,
            max_shutdown_wait, throttle, on_report, name: As of a FlushQueue. Callers whose request
            is displaced get Displaced.

    Raises:
        TypeError, ValueError: As of a FlushQueue.
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
        if on_failure is not None:
            check_callable("on_failure", on_failure)
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
        """The queue of the requests."""
        return self._queue

    def __repr__(self) -> str:
        return f"<Batched {self._loader!r} on {self._queue!r}>"

    async def __aenter__(self) -> Self:
        """Start the queue, as :meth:`FlushQueue.__aenter__`."""
        await self._queue.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Answer all who have asked, and close the queue, as :meth:`FlushQueue.__aexit__`."""
        await self._queue.__aexit__(kind, error, traceback)

    async def __call__(self, key: K) -> V:
        """Ask for one key, together with others, and return the result.

        Those who ask for the same key while it waits share one result (unless ``share=False``). A
        request whose callers have all been cancelled before the loader is called is left out.

        Raises:
            KeyError: The loader returned a mapping without this key.
            ItemFailed: The loader raised, or what it returned does not match its keys, and
                ``on_failure`` said Drop or Fail: a new object for each caller, with the exception
                as its ``__cause__``.
            Displaced: The queue was full, and gave the request up.
            FlushFailed, PolicyError, ShutdownTimeout: The queue ended first.
            FlushqError: The request was not accepted: see :meth:`FlushQueue.enqueue`.
            TypeError: The key cannot be hashed, and ``share`` needs that.
            RuntimeError: Called by the loader itself, or on another event loop.
            BaseException: What the loader returned for this key, if that is an exception.
        """
        own, failed, displaced = Request(key, current_task() or ANYBODY), False, False
        try:
            await self._queue.deliver(own, on_accepted=own.join)
        except Displaced:
            displaced = True
        except ItemFailed:  # the loader has raised: the request that stayed knows what
            failed = True
        finally:
            request = own.give_up()
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
