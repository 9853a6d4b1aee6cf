"""The failure handler and its faults."""

import asyncio
import random
from collections.abc import Awaitable, Iterator
from typing import Any

import attrs

from flushq import Drop, Fail, Failure, Retry, Split, Verdict
from tests.sessions.actors import WHO, Actor
from tests.sessions.errors import error_of
from tests.sessions.facts import Item
from tests.sessions.mirror import CURRENT, Flush
from tests.sessions.sink import Maker
from tests.sessions.users import Users

MOST_ATTEMPTS = 4


@attrs.frozen
class Answer:
    """What the handler does about one failure.

    Attributes:
        verdict: "fail", "drop", "retry", "split", "raise", "reraise" or "nonsense".
        after: The pause before a retry, in seconds.
        waits: Whether it is async.
        seconds: How long it waits, if so.
        steps: For how many turns of the loop it waits before.
        mutates: Whether it changes the lists that it was handed.
        enters: Whether it enqueues an item to the queue, if it is async.
        dying: What it does when it is cancelled: "die", "raise" or "answer".
    """

    verdict: str
    after: float
    waits: bool
    seconds: float
    steps: int
    mutates: bool
    enters: bool
    dying: str


VERDICTS = ["drop"] * 4 + ["retry"] * 5 + ["split"] * 5
FAULTS = ["fail", "fail", "raise", "raise", "reraise", "nonsense"]


def answers(seed: int, severity: float) -> Iterator[Answer]:
    """What a handler does, failure by failure; ``severity`` is how often it ends the queue."""
    dice = random.Random(seed)
    while True:
        yield Answer(
            verdict=dice.choice(FAULTS if dice.random() < severity else VERDICTS),
            after=dice.choice([0.0, 0.0, 0.125, 0.5, 1.0, 3.0]),
            waits=dice.random() < 0.5,
            seconds=dice.choice([0.0, 0.0, 0.25, 1.0, 4.0]),
            steps=dice.choice([0, 0, 1, 2]),
            mutates=dice.random() < 0.1,
            enters=dice.random() < 0.1,
            dying=dice.choice(["die", "die", "raise", "answer"]),
        )


class Handler:
    """A failure handler that gives one answer after the other; one that waits is async.

    Attributes:
        users: Who uses the queue; the handler does so too.
    """

    users: Users

    def __init__(self, answers: Iterator[Answer], make_item: Maker) -> None:
        self._answers = answers
        self._make_item = make_item

    def __call__(self, failure: Failure[Item]) -> Verdict | Awaitable[Verdict]:
        """Give the next answer, at once or later."""
        flush = CURRENT.get()
        assert flush is not None
        self.users.history.note("handler", "asked", tuple(failure.items), failure.attempt)
        if WHO.get() != "sink":
            self.users.mirror.complain(13, f"the handler runs in the context of {WHO.get()}")
        self.users.mirror.ask(flush, failure)
        answer = next(self._answers)
        verdict = _verdict(answer, failure)
        if answer.mutates:
            failure.items.clear()
            (failure.errors or []).clear()
        if answer.waits:
            return self._answer_later(answer, flush, verdict)
        return self._answer(flush, verdict)

    def _answer(self, flush: Flush, verdict: Any) -> Verdict:
        """Answer, or raise what is an exception."""
        self.users.history.note("handler", "  answers", verdict)
        if isinstance(verdict, BaseException):
            self.users.mirror.break_handler(flush, verdict)
            raise verdict
        self.users.mirror.judge(flush, verdict)
        return verdict  # type: ignore[no-any-return]  # or it is meant to be nonsense

    async def _answer_later(self, answer: Answer, flush: Flush, verdict: object) -> Verdict:
        try:
            await self._wait(answer)
        except asyncio.CancelledError as cancelled:
            if answer.dying == "die":
                return self._answer(flush, cancelled)
            if answer.dying == "raise":
                return self._answer(flush, ValueError(f"the handler of {flush}, dying"))
        return self._answer(flush, verdict)

    async def _wait(self, answer: Answer) -> None:
        for _ in range(answer.steps):
            await asyncio.sleep(0)
        if answer.enters:
            await self.users.enqueue(Actor("handler"), self._make_item())
        if answer.seconds:
            await asyncio.sleep(answer.seconds)


def _verdict(answer: Answer, failure: Failure[Item]) -> object:
    """A verdict, nonsense, or an exception to be raised; whatever fails for long is dropped."""
    worn_out = failure.attempt >= MOST_ATTEMPTS
    text = f"the handler, asked about {failure.items}"
    verdicts: dict[str, object] = {
        "fail": Fail(),
        "drop": Drop(),
        "retry": Drop() if worn_out else Retry(answer.after),
        "split": Split() if len(failure.items) > 1 else Drop(),
        "raise": error_of(failure.items[0].number, text),
        "reraise": failure.error,
        "nonsense": "drop",
    }
    return verdicts[answer.verdict]
