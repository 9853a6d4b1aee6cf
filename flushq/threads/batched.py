"""Request and response for threads: many callers ask for one key each, and one call answers them.

flushq.aio.batched explains how this works. The code that both modules share is in flushq.requests.
"""

import inspect
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from flushq.arguments import check_sync_callable, shown
from flushq.core.displacing import WhenFull
from flushq.core.duplicates import discard
from flushq.errors import Displaced, ItemFailed
from flushq.outcomes import Drop, Failure, Verdict
from flushq.policy import FlushPolicy
from flushq.requests import Request, about_keys, fail, match, of_key, wanted
from flushq.telling import OnReport
from flushq.threads.calls import OnFailure, check_handler_not_async, check_not_async
from flushq.threads.queue import FlushQueue
from flushq.throttles import Throttle

DROP = Drop()

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Loader = Callable[[list[K]], Sequence[V | BaseException] | Mapping[K, V | BaseException]]


class Batched(Generic[K, V]):
    """A function of one key, made from a function of many keys: ``value = batched(key)``.

    Use it as ``with Batched(load, policy) as load_one``, and call ``load_one`` in any thread. The
    property ``queue`` is the :class:`FlushQueue` of the requests, with its methods ``start``,
    ``flush``, ``close`` and ``stats``. Its lists of lost items hold keys, not requests.

    Args:
        loader: A plain callable that takes a list of keys, all different if ``share`` is set. It
            returns a mapping of keys to results, or a sequence with one result for each key, in the
            order of the keys. Those who asked for a key that the mapping lacks get a KeyError. If a
            result is an exception, this exception is raised unchanged to all who asked for its key.
            The loader runs in a thread of the queue, in a copy of the contextvars context in which
            the queue was started.
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
        check_not_async("loader", loader)
        check_handler_not_async(on_failure)
        check_sync_callable("weigh", weigh)
        check_sync_callable("partition_key", partition_key)
        self._loader = loader
        self._label = "" if name is None else f"{name}: "
        self._queue: FlushQueue[Request[K]] = FlushQueue(
            partial(_load, loader),
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
            on_failure=partial(_judge, on_failure),
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

    def __enter__(self) -> Self:
        """Start the queue: see :meth:`FlushQueue.__enter__`."""
        self._queue.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Answer all callers, and close the queue: see :meth:`FlushQueue.__exit__`."""
        self._queue.__exit__(kind, error, traceback)

    def __call__(self, key: K, timeout: float | None = None) -> V:
        """Ask the loader for one key, together with other callers, and return the result.

        If callers ask for a key while a request for the same key waits, they share one result
        (unless ``share=False``). If all callers of a request have stopped waiting (after a timeout
        or a KeyboardInterrupt) before the loader is called, the loader does not get the key of this
        request.

        Raises:
            TimeoutError: There was no answer within ``timeout`` seconds (None: no limit).
            KeyError: The loader returned a mapping without this key.
            ItemFailed: The call of the loader failed, and ``on_failure`` did not ask for another
                call. A call fails if the loader raises, or if its results do not match its keys.
                Each caller gets a new ItemFailed. Its ``__cause__`` is the exception of the loader,
                or tells why the results do not match.
            Displaced: The queue was full and displaced the request.
            FlushFailed, PolicyError, ShutdownTimeout: The queue ended before the answer came.
            FlushqError: The request was not accepted: see :meth:`FlushQueue.enqueue`.
            TypeError, ValueError: ``timeout`` is not a number of seconds that is at least 0; or
                ``share`` is set, and the key cannot be hashed.
            RuntimeError: Called inside the loader or on_report.
            BaseException: The exception that the loader returned for this key.
        """
        own, failed, displaced = Request(key), False, False
        try:
            self._queue.deliver(own, timeout, on_accepted=own.join)
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


def _judge(on_failure: OnFailure[K] | None, failure: Failure[Request[K]]) -> Verdict:
    return DROP if on_failure is None else on_failure(about_keys(failure))


def _load(loader: Loader[K, Any], requests: list[Request[K]]) -> None:
    asked = wanted(requests)
    if not asked:
        return
    try:
        match(asked, _not_awaitable(loader([request.key for request in asked])))
    except BaseException as error:
        fail(asked, error, requests)
        raise


def _not_awaitable(result: Any) -> Any:
    if inspect.isawaitable(result):
        discard(result)
        raise TypeError(
            f"the loader must not be async: it returned {shown(result)}; for an async loader, use "
            "flushq.Batched"
        )
    return result
