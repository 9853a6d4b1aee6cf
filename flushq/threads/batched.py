"""Request and response for threads: many callers ask for one thing each, one call answers all.

As flushq.aio.batched, with what both do the same way in flushq.requests.
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
from flushq.threads.calls import OnFailure, check_plain
from flushq.threads.queue import FlushQueue
from flushq.throttles import Throttle

DROP = Drop()

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

Loader = Callable[[list[K]], Sequence[V | BaseException] | Mapping[K, V | BaseException]]


class Batched(Generic[K, V]):
    """A function of one key, made of one of many: ``value = batched(key)``, from any thread.

    Use it as ``with Batched(load, policy) as load_one``. It is a :class:`FlushQueue` of requests,
    to be seen as ``queue``: start, flush, close and measure it there. The lists of what was lost
    hold keys.

    Args:
        loader: A plain callable that takes a list of different keys, and returns a sequence with
            one result for each, in order, or a mapping. A result that is an exception is raised,
            as it is, to those who asked for this key.
        policy: When to call it.
        share, weigh, partition_key: As of a :class:`flushq.Batched`.
        on_failure: What is to be done when the loader has raised, as of a FlushQueue, with a
            Failure of keys. None: Drop, which fails the callers of this call with an ItemFailed.
        max_queue_size, max_queue_weight, when_full, max_in_flight, max_in_flight_per_partition,
            max_shutdown_wait, throttle, on_report, name: As of a :class:`flushq.Batched`.

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
        check_plain("loader", loader)
        if on_failure is not None:
            check_plain("on_failure", on_failure)
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
        """The queue of the requests."""
        return self._queue

    def __repr__(self) -> str:
        return f"<Batched {self._loader!r} on {self._queue!r}>"

    def __enter__(self) -> Self:
        """Start the queue, as :meth:`FlushQueue.__enter__`."""
        self._queue.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Answer all who have asked, and close the queue, as :meth:`FlushQueue.__exit__`."""
        self._queue.__exit__(kind, error, traceback)

    def __call__(self, key: K, timeout: float | None = None) -> V:
        """Ask for one key, together with others, and return the result.

        Those who ask for the same key while it waits share one result (unless ``share=False``). A
        request whose callers have all given up before the loader is called is left out.

        Raises:
            TimeoutError: There was no answer within ``timeout`` seconds; None: no limit.
            KeyError: The loader returned a mapping without this key.
            ItemFailed: The loader raised, or what it returned does not match its keys, and
                ``on_failure`` said Drop or Fail: a new object for each caller, with the exception
                as its ``__cause__``.
            Displaced: The queue was full, and gave the request up.
            FlushFailed, PolicyError, ShutdownTimeout: The queue ended first.
            FlushqError: The request was not accepted: see :meth:`FlushQueue.enqueue`.
            TypeError: The key cannot be hashed, and ``share`` needs that.
            RuntimeError: Called by the loader itself.
            BaseException: What the loader returned for this key, if that is an exception.
        """
        own, failed, displaced = Request(key), False, False
        try:
            self._queue.deliver(own, timeout, on_accepted=own.join)
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


def _judge(on_failure: OnFailure[K] | None, failure: Failure[Request[K]]) -> Verdict:
    return DROP if on_failure is None else on_failure(about_keys(failure))


def _load(loader: Loader[K, Any], requests: list[Request[K]]) -> None:
    asked = wanted(requests)
    if not asked:
        return
    try:
        match(asked, _plain(loader([request.key for request in asked])))
    except BaseException as error:
        fail(asked, error, requests)
        raise


def _plain(result: Any) -> Any:
    if inspect.isawaitable(result):
        discard(result)
        raise TypeError(
            f"the loader must not be async: it returned {shown(result)}; what must be awaited is "
            "for flushq.Batched"
        )
    return result
