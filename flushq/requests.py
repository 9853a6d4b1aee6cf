"""The requests of many callers, and the steps that give each request its result.

Both drivers have a Batched: many callers ask for one key each, and one call of a function, the
*loader*, answers all of them. The code that both drivers share is here. A request is an item of a
queue. The loader is called with the keys of a batch, and each answer is stored in the request for
its key.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence, Sized
from collections.abc import Set as AbstractSet
from types import TracebackType
from typing import Any, Generic, NamedTuple, Protocol, TypeGuard, TypeVar

from attrs import evolve

from flushq.arguments import shown
from flushq.errors import PartialFailure
from flushq.outcomes import Failure

_MISSING: Any = object()

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


class Caller(Protocol):
    """The caller of a request: a task, or a substitute for a caller outside of any task."""

    def cancelling(self) -> int:
        """Return how many cancellations of this caller were requested: see ``Task.cancelling``."""
        ...  # pragma: no cover - a protocol has no code


class _Anybody:
    """A caller that cannot be cancelled."""

    def cancelling(self) -> int:
        """Return 0: no cancellation of this caller was requested."""
        return 0


ANYBODY = _Anybody()


class Request(Generic[K]):
    """The request of a caller for one key.

    If a request for the same key already waits, the waiting request is *kept* in the queue, and
    both callers get its result.

    Attributes:
        key: The key that the caller asks for.
        answer: The result that the loader returned for the key.
        error: The exception that the loader raised last, or None.
        caller: The caller that made the request. None if this caller no longer waits.
        kept: The request that is kept in place of this one, or None.
        joined: The later requests for the same key, which get the result of this request. None if
            there are no such requests.
    """

    __slots__ = ("_cancels", "answer", "caller", "error", "joined", "kept", "key")

    def __init__(self, key: K, caller: Caller = ANYBODY) -> None:
        self.key = key
        self.answer: Any = _MISSING
        self.error: Any = None
        self.caller: Caller | None = caller
        self._cancels = caller.cancelling()
        self.kept: Request[K] | None = None
        self.joined: list[Request[K]] | None = None

    def __repr__(self) -> str:
        return shown(self.key)

    def join(self, kept: "Request[K]") -> None:
        """Record that the queue keeps ``kept``: this request or one that already waited."""
        if kept is not self:
            self.kept = kept
            kept.joined = kept.joined or []
            kept.joined.append(self)

    def release(self) -> "Request[K]":
        """Forget the caller, which no longer waits; return the request that has the result."""
        self.caller = None  # a reference to a task keeps the exception of the task alive
        kept, self.kept = self.kept or self, None
        return kept

    @property
    def is_wanted(self) -> bool:
        """Whether a caller that is not being cancelled waits for the result of this request."""
        if self.caller is not None and self._cancels == self.caller.cancelling():
            return True
        return self.joined is not None and any(other.is_wanted for other in self.joined)

    def result(self) -> Any:
        """Return the answer of the loader, or raise the answer if it is an exception.

        Raises:
            KeyError: The loader gave no answer for the key.
        """
        if self.answer is _MISSING:
            raise KeyError(self.key)
        if isinstance(self.answer, _Raised):
            raise self.answer.error.with_traceback(self.answer.traceback)
        return self.answer


class _Raised(NamedTuple):
    """An exception that the loader returned as an answer, with its traceback at that moment."""

    error: BaseException
    traceback: TracebackType | None


def of_key(function: Callable[[K], R] | None) -> Callable[[Request[K]], R] | None:
    """Return a function that calls ``function`` with the key of a request.

    If ``function`` is None, return None.
    """
    return None if function is None else lambda request: function(request.key)


def wanted(requests: Iterable[Request[K]]) -> list[Request[K]]:
    """Return each request that ``is_wanted``: a caller still waits for its result."""
    return [request for request in requests if request.is_wanted]


def about_keys(failure: Failure[Request[K]]) -> Failure[K]:
    """Return a failure for the user's handler: its items are the keys that the loader got."""
    of_keys: Any = failure
    loaded = [each.key for each in failure.items if each.error is not None]
    failure_of_keys: Failure[K] = evolve(of_keys, items=loaded)
    return failure_of_keys


def fail(requests: list[Request[K]], error: BaseException, *more: list[Request[K]]) -> None:
    """Store the loader's exception in each of ``requests``; clear this list and those in ``more``.

    The traceback of the exception refers to these lists. If they were not cleared, it would keep
    the requests alive.

    Raises:
        TypeError: The error is a PartialFailure, which would say that some keys were delivered.
    """
    for request in requests:
        request.error = error
    for each in (requests, *more):
        each.clear()
    if isinstance(error, PartialFailure):
        raise TypeError(f"the loader must not raise a PartialFailure: {shown(error)}") from error


def match(requests: Sequence[Request[Any]], results: object) -> None:
    """Give each request its result.

    Raises:
        TypeError, ValueError: The results do not match the requests. Then no request gets a result.
    """
    answers = _answers(requests, results)
    for request, answer in zip(requests, answers, strict=True):
        request.answer = answer


def _answers(requests: Sequence[Request[Any]], results: object) -> list[object]:
    """Return the answer for each request; an exception is wrapped in :class:`_Raised`."""
    if type(results) is list:  # the usual type first: the other checks are slower
        answers = results
    elif isinstance(results, Mapping):
        answers = [_look_up(request.key, results) for request in requests]
    elif _is_sequence(results):
        answers = list(results)
    else:
        raise TypeError(f"the loader must return a sequence or a mapping, not {shown(results)}")
    if len(answers) != len(requests):
        raise ValueError(
            f"the loader must return {len(requests)} results, one for each key, not {len(answers)}"
        )
    return [
        _Raised(answer, answer.__traceback__) if isinstance(answer, BaseException) else answer
        for answer in answers
    ]


def _is_sequence(results: object) -> TypeGuard[Iterable[object]]:
    """Return whether the results have an order, as in a list or an array.

    A str or a bytes object does not count.
    """
    is_one = isinstance(results, Sized) and isinstance(results, Iterable)
    return is_one and not isinstance(results, str | bytes | AbstractSet)


def _look_up(key: K, results: Mapping[K, object]) -> object:
    try:
        return results[key]
    except KeyError:
        return _MISSING
