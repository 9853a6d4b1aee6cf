"""The requests of many callers, and how they are matched with what a loader returned.

Both drivers have a Batched, and what they do the same way is here. A request is an item of a queue.
The loader is called with the keys of a batch, and the answers are written on the requests.
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
    """Who has asked: a task, or what stands for a caller that is not a part of any."""

    def cancelling(self) -> int:
        """How often it was asked to cancel."""
        ...  # pragma: no cover - a protocol has no code


class _Anybody:
    """A caller that cannot be cancelled."""

    def cancelling(self) -> int:
        """It was never asked to."""
        return 0


ANYBODY = _Anybody()


class Request(Generic[K]):
    """What a caller has asked for.

    If a request for the same key waits already, that one *stays* in the queue, and its result is
    that of both.

    Attributes:
        key: What.
        answer: What the loader returned for it.
        error: What it raised instead, the last time.
        caller: The one who has asked, while it waits.
        stays: The request that waits already; None: there is none.
        joined: The requests for the same key that came while it waited; None: there are none.
    """

    __slots__ = ("_cancels", "answer", "caller", "error", "joined", "key", "stays")

    def __init__(self, key: K, caller: Caller = ANYBODY) -> None:
        self.key = key
        self.answer: Any = _MISSING
        self.error: Any = None
        self.caller: Caller | None = caller
        self._cancels = caller.cancelling()
        self.stays: Request[K] | None = None
        self.joined: list[Request[K]] | None = None

    def __repr__(self) -> str:
        return shown(self.key)

    def join(self, stays: "Request[K]") -> None:
        """It was accepted; this is the one that stays."""
        if stays is not self:
            self.stays = stays
            stays.joined = stays.joined or []
            stays.joined.append(self)

    def give_up(self) -> "Request[K]":
        """Its caller goes on; return the one that knows the result."""
        self.caller = None  # it leads to what the caller raises
        stays, self.stays = self.stays or self, None
        return stays

    @property
    def is_wanted(self) -> bool:
        """Whether a caller waits for it that is not being cancelled."""
        if self.caller is not None and self._cancels == self.caller.cancelling():
            return True
        return self.joined is not None and any(other.is_wanted for other in self.joined)

    def result(self) -> Any:
        """The answer of the loader; raise it if it is an exception."""
        if self.answer is _MISSING:
            raise KeyError(self.key)
        if isinstance(self.answer, _Raised):
            raise self.answer.error.with_traceback(self.answer.traceback)
        return self.answer


class _Raised(NamedTuple):
    """An exception for an answer, with the traceback that it had: each raise makes it longer."""

    error: BaseException
    traceback: TracebackType | None


def of_key(function: Callable[[K], R] | None) -> Callable[[Request[K]], R] | None:
    """What a function of a key is of its request."""
    return None if function is None else lambda request: function(request.key)


def wanted(requests: Iterable[Request[K]]) -> list[Request[K]]:
    """Those that a caller still waits for."""
    return [request for request in requests if request.is_wanted]


def about_keys(failure: Failure[Request[K]]) -> Failure[K]:
    """The same failure, as a user's failure handler is to see it: of the keys that were loaded."""
    of_keys: Any = failure
    loaded = [each.key for each in failure.items if each.error is not None]
    failure_of_keys: Failure[K] = evolve(of_keys, items=loaded)
    return failure_of_keys


def fail(requests: list[Request[K]], error: BaseException, *more: list[Request[K]]) -> None:
    """The loader has raised; ``more`` are lists that the traceback of the error leads back to.

    Raises:
        TypeError: It was a PartialFailure, which would say what was delivered.
    """
    for request in requests:
        request.error = error
    for each in (requests, *more):
        each.clear()
    if isinstance(error, PartialFailure):
        raise TypeError(f"a loader fails as a whole: it raised {shown(error)}") from error


def match(requests: Sequence[Request[Any]], results: object) -> None:
    """Give each request its result; none if they do not match."""
    answers = _answers(requests, results)
    for request, answer in zip(requests, answers, strict=True):
        request.answer = answer


def _answers(requests: Sequence[Request[Any]], results: object) -> list[object]:
    """The answer for each request, as it keeps it."""
    if type(results) is list:  # what most return, asked first as the other questions take long
        answers = results
    elif isinstance(results, Mapping):
        answers = [_look_up(request.key, results) for request in requests]
    elif _is_sequence(results):
        answers = list(results)
    else:
        raise TypeError(f"the loader must return a sequence or a mapping, not {shown(results)}")
    if len(answers) != len(requests):
        raise ValueError(f"the loader returned {len(answers)} results for {len(requests)} keys")
    return [
        _Raised(answer, answer.__traceback__) if isinstance(answer, BaseException) else answer
        for answer in answers
    ]


def _is_sequence(results: object) -> TypeGuard[Iterable[object]]:
    """Whether something has one result after the other: an array is not a Sequence, but will do."""
    is_one = isinstance(results, Sized) and isinstance(results, Iterable)
    return is_one and not isinstance(results, str | bytes | AbstractSet)


def _look_up(key: K, results: Mapping[K, object]) -> object:
    try:
        return results[key]
    except KeyError:
        return _MISSING
