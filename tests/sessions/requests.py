"""A checker for `Batched`: what the loader is asked for, and what each caller must be told.

Callers with the same key share a request from the first of them until its batch is cut. The loader
is called with the keys of those requests of a batch that still have callers; a *load* is one batch.
"""

import math
from asyncio import CancelledError
from collections import deque
from collections.abc import Mapping
from typing import Any, Self

import attrs

from flushq import Batched, ItemFailed, QueueClosed, ShutdownTimeout
from tests.core_sessions.flights import Made
from tests.sessions.history import History

Flaw = tuple[int, str] | None
"""A point of the contract and what is wrong, if anything is."""


@attrs.frozen
class Answer:
    """What the callers of a request must be told.

    Attributes:
        kind: "value", "exception" (as it is), "missing" or "failed".
        what: The value, the exception, the key, or the cause.
    """

    kind: str
    what: Any


@attrs.define(eq=False, repr=False)
class Request:
    """What some callers have asked for together.

    Attributes:
        key: What.
        callers: Those who still wait.
        answer: What they must be told, once it is known.
    """

    key: int
    callers: dict["Ask", None] = attrs.field(factory=dict)
    answer: Answer | None = None

    def __repr__(self) -> str:
        return f"{self.key} for {', '.join(ask.who for ask in self.callers)}"


@attrs.define(eq=False, kw_only=True)
class Ask:
    """One call of a `Batched`.

    Attributes:
        who: The name of the caller.
        requested: Whether somebody has asked for its cancellation.
        key: What is asked for.
        inside: Whether the loader itself asks.
        request: The request that it shares; None if it is refused.
    """

    who: str
    key: int
    requested: bool = False
    inside: bool = False
    request: Request | None = None


@attrs.define(eq=False)
class Load:
    """A batch of requests.

    Attributes:
        requests: The requests.
        wanted: Those that the loader was called with.
        over: Whether that call has ended.
        interrupted: Whether it was cancelled before.
    """

    requests: tuple[Request, ...]
    wanted: tuple[Request, ...] = ()
    over: bool = False
    interrupted: bool = False

    def may_be_loaded(self, keys: list[int]) -> bool:
        """Whether these are its keys; one whose callers are all being cancelled may be missing."""
        wanted = [each for each in self.requests if each.callers and each.key in keys]
        missing = [each for each in self.requests if each.key not in keys]
        in_vain = all(ask.requested for each in missing for ask in each.callers)
        return bool(wanted) and in_vain and keys == [each.key for each in wanted]


class Requests:
    """Whoever asks, loads or cuts tells it, and it compares.

    Attributes:
        closed_at: When the close began.
        batched: What is checked.
    """

    batched: Batched[int, object]

    def __init__(self, history: History, limit: float | None) -> None:
        self.closed_at = math.inf
        self._history = history
        self._limit = math.inf if limit is None else limit
        self._waiting: deque[Request] = deque()
        self._loads: list[Load] = []
        self._told: list[BaseException] = []

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    @property
    def _closing(self) -> bool:
        return self.closed_at < math.inf

    @property
    def _stops(self) -> bool:
        """Whether the close may be cut short."""
        return self._history.clock.time() >= self.closed_at + self._limit

    def complain(self, text: str) -> None:
        """Something is wrong."""
        self._history.complain(20, text)

    # Callers.

    def asked(self, ask: Ask) -> None:
        """Somebody asks."""
        self._history.note(ask.who, "asks", ask.key)
        if self._closing or ask.inside:
            return
        same = [request for request in self._waiting if request.key == ask.key]
        ask.request = same[0] if same else Request(ask.key)
        ask.request.callers[ask] = None
        if not same:
            self._waiting.append(ask.request)

    def told(self, ask: Ask, value: object, error: BaseException | None) -> None:
        """They are told."""
        self._history.note(ask.who, "  got", ask.key, value, error)
        flaw = self._flaw(ask, value, error)
        if flaw is not None:
            self._history.complain(flaw[0], f"{ask.who}, {ask.key}: {value}, {error!r} {flaw[1]}")
        if ask.request is not None:
            del ask.request.callers[ask]

    def _flaw(self, ask: Ask, value: object, error: BaseException | None) -> Flaw:
        if isinstance(error, CancelledError):
            return None if ask.requested else (11, "though nobody cancelled it")
        if ask.requested:
            return (11, "swallows a cancellation")
        if ask.inside:
            return None if type(error) is RuntimeError else (14, "inside the loader")
        if ask.request is None:
            return None if isinstance(error, QueueClosed) else (10, "though the queue is closed")
        if ask.request.answer is None:
            ended = isinstance(error, ShutdownTimeout) and self._stops
            return self._flaw_of_identity(error) if ended else (20, "though nothing is known of it")
        return self._flaw_of_answer(ask.request.answer, value, error)

    def _flaw_of_answer(self, answer: Answer, value: object, error: BaseException | None) -> Flaw:
        if answer.kind == "value":
            right = error is None and value is answer.what
        elif answer.kind == "exception":
            return None if error is answer.what else (20, f"is not {answer}")
        elif answer.kind == "missing":
            right = type(error) is KeyError and error.args == (answer.what,)
        else:
            right = type(error) is ItemFailed and _is_same(error.__cause__, answer.what)
        return self._flaw_of_identity(error) if right else (20, f"is not {answer}")

    def _flaw_of_identity(self, error: BaseException | None) -> Flaw:
        if error is None:
            return None
        if any(error is other for other in self._told):
            return (20, "is an object that somebody else got")
        self._told.append(error)
        return None

    # The loader.

    def cut(self, count: int) -> None:
        """The policy hears that so many requests were cut."""
        self._loads.append(Load(tuple(self._waiting.popleft() for _ in range(count))))

    def loader_called(self, keys: list[int]) -> Load:
        """The loader is called."""
        self._history.note("loader", "called", tuple(keys))
        for load in self._loads:
            if not load.wanted and load.may_be_loaded(keys):
                load.wanted = tuple(each for each in load.requests if each.key in keys)
                return load
        self.complain(f"the loader was called with {keys}, for nobody")
        return Load(())

    def loader_cancelled(self, load: Load) -> None:
        """It sees a cancellation: from now on only what is right counts."""
        self._history.note("loader", "  cancelled")
        load.interrupted = True
        if not self._stops:
            self._history.complain(10, "the loader was cancelled without need")

    def loader_returned(self, load: Load, result: object) -> None:
        """It has returned."""
        self._history.note("loader", "  returned", result)
        answers = [
            _answer(result, request.key, index, len(load.wanted))
            for index, request in enumerate(load.wanted)
        ]
        self._end(load, answers)

    def loader_raised(self, load: Load, error: object) -> None:
        """It has raised."""
        self._history.note("loader", "  raised", error)
        self._end(load, [Answer("failed", error)] * len(load.wanted))

    def _end(self, load: Load, answers: list[Answer]) -> None:
        load.over = True
        for request, answer in zip(load.wanted, answers, strict=True):
            if not (load.interrupted and answer.kind == "failed"):
                request.answer = answer

    # An idle moment.

    def check_idle(self) -> None:
        """Nobody waits who could be told, and the figures add up."""
        for load in self._loads:
            runs = load.wanted and not load.over
            if not runs and any(request.callers for request in load.requests):
                self.complain(f"callers of {load} still wait")
        stats = self.batched.queue.stats()
        ended = stats.delivered + stats.dropped + stats.undelivered + stats.in_doubt
        if stats.accepted != ended + stats.duplicates + stats.pending + stats.in_flight:
            self._history.complain(21, f"the figures do not add up: {stats}")


def _answer(result: object, key: int, index: int, count: int) -> Answer:
    """What the caller of a key must be told if the loader has returned this."""
    if isinstance(result, Mapping):
        if key not in result:
            return Answer("missing", key)
        value = result[key]
    elif isinstance(result, str | set) or not hasattr(result, "__len__"):
        return Answer("failed", Made(TypeError, None))
    elif len(result) != count:
        return Answer("failed", Made(ValueError, None))
    else:
        value = list(result)[index]  # type: ignore[call-overload]  # it has a length
    return Answer("exception" if isinstance(value, BaseException) else "value", value)


def _is_same(actual: BaseException | None, expected: object) -> bool:
    """Whether an exception is the one expected, or is made as expected."""
    return actual is expected or (isinstance(expected, Made) and expected == actual)
