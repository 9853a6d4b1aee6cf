"""Flights, call by call: which items flush_fn may be called with again, and which never.

A flight is a stack of parts, the next one last; at first there is one, all of it. What flush_fn
raises and what the handler answers says what becomes of that part. An item that was delivered or
dropped is in no part any more, so whoever hands it over again is found out.
"""

import math
import operator
from collections.abc import Sequence

from flushq import Drop, Failure, PartialFailure, Retry, Split, Verdict
from tests.sessions.account import Account
from tests.sessions.causes import Cause, Made
from tests.sessions.endings import Endings
from tests.sessions.facts import (
    ASKED,
    BETWEEN,
    CUT,
    DELIVERED,
    DROPPED,
    FAILED,
    HANDED,
    RAISED,
    Flight,
    Item,
    Part,
)
from tests.sessions.history import History
from tests.sessions.loop import EARLY


class Deliveries:
    """What flush_fn and the failure handler make of the flights.

    Args:
        handled: Whether there is a handler.
    """

    def __init__(
        self, history: History, account: Account, endings: Endings, *, handled: bool
    ) -> None:
        self._history = history
        self._account = account
        self._endings = endings
        self._handled = handled
        self._chained: list[tuple[BaseException, BaseException | None]] = []

    # The flush function.

    def called(self, batch: list[Item]) -> Flight:
        """It was called."""
        flight = self._account.flight_of.get(batch[0]) if batch else None
        if flight is None or flight.state == CUT:
            flight = self._account.call(batch)
        else:
            self._check_again(flight, batch)
        flight.state = HANDED
        flight.calls += 1
        return flight

    def _check_again(self, flight: Flight, batch: list[Item]) -> None:
        part = flight.parts[-1] if flight.parts else Part(())
        if flight.over or flight.state != BETWEEN:
            self._history.complain(3, f"{batch} was handed over again, when it was {flight.state}")
        if list(part.items) != batch:
            self._history.complain(3, f"{batch} was handed over again, not {part.items}")
        if flight.cancelled_in or self._endings.cut_surely:
            self._history.complain(
                10, f"{batch} was handed over again after {flight} was cut short"
            )
        if self._history.loop.time() < part.due - 2 * EARLY:
            self._history.complain(18, f"{batch} was handed over again, due at {part.due:g}")

    def returned(self, flight: Flight) -> None:
        """It has returned."""
        self._account.settle(flight, flight.parts.pop().items, DELIVERED)
        self._go_on(flight)

    def raised(self, flight: Flight, error: BaseException) -> None:
        """It has raised."""
        part = flight.parts[-1]
        part.error, part.causes = error, (error,) * len(part.items)
        if isinstance(error, PartialFailure):
            if not _is_sound(error, len(part.items)):
                refusal = Made(ValueError, error)
                part.causes = (refusal,) * len(part.items)
                self._fail(flight, refusal)
                return
            self._narrow(flight, error)
        if flight.cancelled_in:
            self._account.end(flight, error)
        elif self._handled:
            flight.state = RAISED
        else:
            self._fail(flight, error)

    def _narrow(self, flight: Flight, error: PartialFailure) -> None:
        """Those that did not fail are delivered."""
        part = flight.parts[-1]
        failed = sorted(error.errors)
        kept = [item for index, item in enumerate(part.items) if index not in error.errors]
        self._account.settle(flight, kept, DELIVERED)
        part.items = tuple(part.items[index] for index in failed)
        part.causes = tuple(error.errors[index] for index in failed)

    # The failure handler.

    def asked(self, failure: Failure[Item]) -> Flight:
        """The handler was called."""
        flight = self._account.flight_of[failure.items[0]]
        part = flight.parts[-1] if flight.parts else Part(())
        if flight.state != RAISED or flight.over:
            self._history.complain(18, f"the handler was asked about {flight}: {flight.state}")
        errors = part.causes if isinstance(part.error, PartialFailure) else None
        seconds = max(0.0, self._history.loop.time() - flight.cut_at)
        right = {
            "items": failure.items == list(part.items),
            "error": failure.error is part.error,
            "errors": _are_those(failure.errors, errors),
            "attempt": failure.attempt == part.attempt,
            "seconds": failure.seconds == seconds,
        }
        for name in (name for name, is_right in right.items() if not is_right):
            told = getattr(failure, name)
            self._history.complain(18, f"the handler was told {name}={told!r} of {part}")
        if failure.reason not in flight.reasons:
            self._history.complain(18, f"the handler was told of {failure.reason!r}")
        flight.state = ASKED
        return flight

    def answered(self, flight: Flight, verdict: object) -> None:
        """The handler has answered."""
        part = flight.parts[-1]
        match verdict:
            case Drop():
                self._account.settle(flight, flight.parts.pop().items, DROPPED, part.causes)
            case Retry(after):
                due = self._history.loop.time() + after
                flight.parts[-1] = Part(part.items, part.attempt + 1, due)
            case Split() if len(part.items) > 1:
                half = math.ceil(len(part.items) / 2)
                flight.parts[-1:] = [Part(part.items[half:]), Part(part.items[:half])]
            case _ if isinstance(verdict, Verdict):
                self._fail(flight, part.error)
            case _:
                self._break(flight, Made(TypeError, part.error))
        self._go_on(flight)

    def broke(self, flight: Flight, error: BaseException) -> None:
        """The handler has raised, or was cancelled."""
        part = flight.parts[-1]
        if error is not part.error:
            self._chained.append((error, part.error))
        self._break(flight, error)

    def check_chains(self) -> None:
        """What a handler raised tells of the failure that it was asked about."""
        for error, cause in self._chained:
            if error.__cause__ is not cause:
                self._history.complain(18, f"{error!r} has the cause {error.__cause__!r}")

    # What becomes of it.

    def _go_on(self, flight: Flight) -> None:
        """Nothing is left, or the next part is to be handed over, unless it was cut short."""
        flight.state = BETWEEN
        if not flight.parts:
            self._account.end(flight, None)

    def _break(self, flight: Flight, error: Cause) -> None:
        """The handler fails, and the flight with it."""
        if flight.cancelled_in:
            self._account.end(flight, error)
        else:
            self._fail(flight, error)

    def _fail(self, flight: Flight, error: Cause) -> None:
        """The part fails, and the flight with it."""
        part = flight.parts.pop()
        self._account.settle(flight, part.items, FAILED, part.causes)
        self._account.end(flight, error)

    # An idle moment.

    def check_idle(self, flight: Flight) -> None:
        """A flight that runs must wait for something: the sink, the handler, or the time."""
        if flight.state == RAISED:
            self._history.complain(18, f"the handler was never asked about {flight}")
        elif flight.state == BETWEEN:
            if flight.cancelled_in:
                self._history.complain(10, f"{flight} pauses, though it was cut short")
            elif self._endings.interrupted:
                self._account.cut_short(flight)
            elif self._is_forgotten(flight.parts[-1].due):
                self._history.complain(18, f"{flight} stands still between two calls")

    def _is_forgotten(self, due: float) -> bool:
        """Whether a call is due by now, or no timer is set for it."""
        loop = self._history.loop
        return due <= loop.time() or loop.next_timer > due


def _are_those(told: list[BaseException] | None, right: Sequence[Cause] | None) -> bool:
    """Whether these exceptions are those, which nothing but their identity tells apart."""
    if told is None or right is None:
        return told is right
    return len(told) == len(right) and all(map(operator.is_, told, right))


def _is_sound(error: PartialFailure, count: int) -> bool:
    """Whether it names some of so many items, and an exception of each."""
    errors: object = error.errors
    if not isinstance(errors, dict) or not errors:
        return False
    return all(
        type(index) is int and 0 <= index < count and isinstance(each, BaseException)
        for index, each in errors.items()
    )
