"""Compares everything visible of the core with the model; a difference names a point."""

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import attrs

from flushq import FlushReport, ItemFailed, QueueEnded
from flushq.core.batch import Batch
from flushq.core.core import Core
from flushq.core.view import QueueView
from tests.core_sessions.calls import Call as ModelCall
from tests.core_sessions.driver import Caller
from tests.core_sessions.flights import Cause, Flight
from tests.core_sessions.model import PLACES, Model
from tests.sessions.facts import Item
from tests.sessions.history import History

Difference = tuple[int | str, str, object, object]
"""A point of the contract, the name of a fact, its value in the core, and the right value."""


FACTS: list[tuple[int | str, str]] = [
    *((2, place) for place in PLACES),
    (1, "accepted"),
    (16, "duplicates"),
    ("P2", "partitions"),
    (7, "waiting"),
    (10, "ending"),
    (10, "deadline"),
    (10, "ended"),
    (6, "wake_at"),
    (18, "when the next call may start"),
    (21, "reports"),
    (5, "flushes"),
]
"""The facts that are compared after every action, each with its point of the contract."""


class Started(Protocol):
    """A flush that was started, with the items of its batch."""

    batch: Batch[Item]
    items: tuple[Item, ...]

    @property
    def wish(self) -> tuple[object, ...] | None:
        """What the flush waits for."""


class Judge:
    """Compares a queue with a model after each action, without calls that have ended and agreed.

    Args:
        view: The public view of the queue.
        core: The core of the queue.
        flushes, reports: All flushes that were started, and all reports; the lists grow.
        credit: A function that returns the credit and the overdraft: how many items come in
            without a check, of callers that can wait, and of others.
        model: The model.
        history: The history in which the differences are noted, until there are some.

    Attributes:
        callers: The callers whose calls have not ended, by number.
    """

    def __init__(
        self,
        view: QueueView[Item],
        core: Core[Item],
        flushes: Sequence[Started],
        reports: Sequence[FlushReport],
        credit: Callable[[], tuple[Iterator[None], Iterator[None]]],
        model: Model,
        history: History,
    ) -> None:
        self.callers: dict[int, tuple[Caller, ModelCall]] = {}
        self._view = view
        self._core = core
        self._started = flushes
        self._handed_out = reports
        self._credit = credit
        self._model = model
        self._history = history
        self._submitted: list[tuple[Caller, ModelCall]] = []
        self._told_errors: list[BaseException] = []
        self._reports = 0
        self._flushes = 0
        self._running: list[tuple[int, Started, Flight]] = []

    def compare(self) -> None:
        """Compare the queue with the model."""
        if self._history.complaints:
            return
        for recorded in self._model.policy_events:
            self._history.complain(13, f"the policy was told {recorded.event}, which is too much")
        for point, text in self._model.complaints:
            self._history.complain(point, text)
        self._note(self._differences())

    def compare_idle(self) -> None:
        """Compare stats(), and look for steps that are missing, when nothing can be done now."""
        self.compare_stats()
        if not self._history.complaints:
            for point, flaw in self._model.idle_flaws():
                self._history.complain(point, flaw)

    def compare_stats(self) -> None:
        """Compare ``stats()``."""
        if not self._history.complaints:
            self._note(self._stats())

    def _note(self, differences: Iterator[Difference]) -> None:
        for point, what, told, right in differences:
            self._history.complain(point, f"{what}: {told}, not {right}")

    def _differences(self) -> Iterator[Difference]:
        """Yield the differences between the two, and the broken invariants."""
        told, right = self._told(), self._right()
        if told != right:
            for (point, what), each, other in zip(FACTS, told, right, strict=True):
                if each != other:
                    yield point, what, each, other
        places = self._model.places
        if places["undelivered"] or places["in_doubt"]:
            yield from self._losses("undelivered")
            yield from self._losses("in_doubt")
        if self._running or right[-1] != self._flushes:
            yield from self._flights()
        if self.callers:
            yield from self._calls()
        if self._submitted:
            yield from self._completions()
        yield from self._limits()

    def _told(self) -> tuple[object, ...]:
        """Return the facts of the core."""
        core = self._core
        batcher, buffer, losses = core.batcher, core.buffer, core.batcher.losses
        return (
            batcher.delivered,
            batcher.dropped,
            losses.undelivered.count,
            losses.in_doubt.count,
            len(buffer.items),
            batcher.in_flight,
            batcher.displaced,
            buffer.next_number,
            buffer.duplicates,
            batcher.partitions,
            len(core.admission.waitlist.line),
            core.ending.begun,
            core.ending.deadline,
            core.ending.ended,
            batcher.wake_at,
            core.starts.wake_at,
            _facts(self._handed_out[self._reports :]),
            len(self._started),
        )

    def _right(self) -> tuple[object, ...]:
        """Return the facts of the model."""
        model = self._model
        new_reports = model.reports[self._reports :]
        self._reports += len(new_reports)
        return (
            *model.places.values(),
            len(model.entries),
            model.duplicates,
            self._right_partitions,
            len(model.line),
            model.ending,
            model.deadline,
            model.ended,
            model.wake_at,
            model.starts.wake_at,
            _facts(new_reports),
            len(model.flights),
        )

    @property
    def _right_partitions(self) -> int:
        return len(self._model.partitions) if self._model.limits.partitioned else 0

    def _limits(self) -> Iterator[Difference]:
        """Yield an item without one place, a queue that is too full, and too much credit."""
        model = self._model
        if len(model.entries) + model.turned_away != sum(model.places.values()):
            yield 2, "the sum of the places", model.places, f"{len(model.entries)} items"
        if len(model.waiting) > model.limits.max_queue_size:
            yield 7, "pending", len(model.waiting), model.limits.max_queue_size
        if model.weight > (model.limits.max_queue_weight or math.inf):
            yield "B1", "the weight", model.weight, model.limits.max_queue_weight
        told = self._core.batcher.policy.copy.queue.weight
        known = sum(entry.item.weight for entry in model.waiting if entry.since is not None)
        is_one_policy = not (model.limits.partitioned or model.ending)
        if is_one_policy and not math.isclose(told, known, abs_tol=1e-9):
            yield "B5", "the weight that the policy knows", told, known
        credit, overdraft = map(operator.length_hint, self._credit())
        room = 0 if model.line or model.reserved or model.ending else model.room
        if credit and credit > min(room, model.most - model.burst):
            yield 7, "credit", credit, (room, model.most - model.burst)
        if overdraft and overdraft > room:
            yield 7, "overdraft", overdraft, room

    def _stats(self) -> Iterator[Difference]:
        """Yield a difference in ``stats()``, with the age of the oldest item."""
        stats, model = self._view.stats(), self._model
        ages = [model.opened, *(entry.since for entry in model.waiting[:1])]
        since = [age for age in ages if age is not None]
        age = max(0.0, model.now - min(since)) if model.waiting else 0.0
        told = attrs.asdict(stats, recurse=False)
        right = {
            "accepted": len(model.entries) + model.duplicates + model.turned_away,
            "duplicates": model.duplicates,
            **model.places,
            "waiting": len(model.line),
            "flushes": model.reasons,
            "oldest_age": age,
            "partitions": self._right_partitions,
        }
        if told != right:
            yield 21, "stats()", told, right

    def _losses(self, place: str) -> Iterator[Difference]:
        """Yield a list of losses that is not complete or not in order of acceptance."""
        told = getattr(self._view, place)
        right = [entry.item for entry in self._model.entries if entry.place == place]
        if told != right:
            yield 2, place, list(told), right

    def _flights(self) -> Iterator[Difference]:
        """Yield a batch with wrong items or a wrong reason, or a flush with a wrong wait."""
        flushes, flights = self._started, self._model.flights
        while self._flushes < min(len(flushes), len(flights)):
            flush, flight = flushes[self._flushes], flights[self._flushes]
            self._running.append((self._flushes, flush, flight))
            self._flushes += 1
            if _batch(flush) != _flight(flight):
                yield 5, f"flush {self._flushes - 1}", _batch(flush), _flight(flight)
            yield from self._folds(flush, flight)
        for number, flush, flight in self._running:
            batch = flush.batch
            told = batch.attempts, batch.interrupted, flush.wish
            right = flight.calls, bool(flight.interrupted), flight.wants
            if told != right:
                yield 3, f"flush {number}", told, right
        self._running = [each for each in self._running if each[2].wants is not None]

    def _folds(self, flush: Started, flight: Flight) -> Iterator[Difference]:
        """Yield a batch whose items are not the left folds of the items of their keys."""
        merge = self._model.limits.merge
        if merge is not None:
            told, right = flush.items, tuple(entry.folded(merge) for entry in flight.entries)
            if told != right:
                yield "M4", f"flush {self._flushes - 1}", told, right

    def _calls(self) -> Iterator[Difference]:
        """Yield a caller that waits or resumes wrongly, or whose call has a wrong outcome."""
        for number, (caller, call) in list(self.callers.items()):
            told, right = _seen(caller, self._view), _right(call)
            if told != right:
                yield _point(call), f"caller {number} ({call.kind})", told, right
            elif caller.done:
                del self.callers[number]
                yield from self._shared(caller.error)
                if call.kind == "submit" and caller.accepted:
                    self._submitted.append((caller, call))

    def _shared(self, error: BaseException | None) -> Iterator[Difference]:
        """Yield an exception that two callers got."""
        if isinstance(error, QueueEnded | ItemFailed):
            if any(error is other for other in self._told_errors):
                yield 12, "an exception", error, "one that no other caller got"
            self._told_errors.append(error)

    def _completions(self) -> Iterator[Difference]:
        """Yield a completion with a wrong item, or one that has ended too early or too late."""
        for caller, call in self._submitted:
            completion, entry = caller.completion, call.entry
            assert entry is not None
            told, right = (
                (completion.item, completion.ended),
                (entry.item, entry.answer is not None),
            )
            if told != right:
                yield 19, f"the completion of {call.item}", told, right
        self._submitted = [each for each in self._submitted if not each[0].completion.ended]


def _seen(caller: Caller, view: QueueView[Item]) -> tuple[object, ...]:
    """Return the state of a caller."""
    if not caller.done:
        return caller.ready, caller.accepted, None
    return False, caller.accepted, _outcome(caller, view)


def _right(call: ModelCall) -> tuple[object, ...]:
    """Return the state that the caller should have."""
    accepted = call.entry is not None and call.kind != "read"
    return call.ready, accepted, call.answer if call.state == "done" else None


def _outcome(caller: Caller, view: QueueView[Item]) -> tuple[Cause, ...]:
    """Return the outcome of a call in the terms of the model."""
    error = caller.error
    if error is None:
        return "returned", caller.value
    if isinstance(error, ItemFailed):
        return type(error), error.__cause__, error.item
    if isinstance(error, QueueEnded):
        lists = error.undelivered is view.undelivered and error.in_doubt is view.in_doubt
        return type(error), error.__cause__ if lists else "carries other lists"
    return type(error), None


def _facts(reports: Sequence[FlushReport]) -> list[tuple[object, ...]]:
    """Return the fields of reports as tuples, in which an exception always equals itself."""
    return [attrs.astuple(report, recurse=False) for report in reports]


def _point(call: ModelCall) -> int:
    """Return the point of the contract for this kind of call."""
    if call.kind in {"read", "deliver", "submit"}:
        return 19
    if call.kind == "flush":
        return 9
    return 10 if call.kind in {"run", "leave", "aclose"} else 7


def _batch(flush: Started) -> tuple[object, ...]:
    """Return the facts of a flush that starts."""
    batch = flush.batch
    facts = batch.reason, batch.started, batch.oldest, batch.weight
    return flush.items, batch.partition, *facts


def _flight(flight: Flight) -> tuple[object, ...]:
    """Return the same facts of the model."""
    items = tuple(entry.item for entry in flight.entries)
    facts = flight.reason, flight.started, flight.oldest, flight.weight
    return items, flight.partition, *facts
