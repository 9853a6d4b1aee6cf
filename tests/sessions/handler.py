"""The failure handler and its faults."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from flushq import Drop, Fail, Failure, Retry, Split, Verdict
from tests.sessions.actors import WHO, Actor
from tests.sessions.dice import Dice
from tests.sessions.errors import error_of
from tests.sessions.facts import Item
from tests.sessions.mirror import CURRENT, Flush
from tests.sessions.sink import Maker
from tests.sessions.users import Users

MOST_ATTEMPTS = 4

VERDICTS = ["drop"] * 4 + ["retry"] * 5 + ["split"] * 5
FAULTS = ["fail", "fail", "raise", "raise", "reraise", "nonsense"]


class Handler:
    """A failure handler; when it waits, it returns an awaitable.

    Args:
        dice: The source of the answer to each failure.
        make_item: A maker of the items that the handler itself enqueues.
        severity: The share of failures at which the handler ends the queue.

    Attributes:
        users: The users of the queue, through which the handler enqueues.
    """

    users: Users

    def __init__(self, dice: Dice, make_item: Maker, severity: float) -> None:
        self._dice = dice
        self._make_item = make_item
        self._severity = severity

    def __call__(self, failure: Failure[Item]) -> Verdict | Awaitable[Verdict]:
        """Answer a failure, at once or later."""
        flush = CURRENT.get()
        assert flush is not None
        self.users.history.note("handler", "asked", tuple(failure.items), failure.attempt)
        if WHO.get() != "sink":
            self.users.mirror.complain(13, f"the handler runs in the context of {WHO.get()}")
        self.users.mirror.ask(flush, failure)
        verdict = self._verdict(failure)
        if self._dice.chance(0.1):
            failure.items.clear()
            (failure.errors or []).clear()
        if self._dice.chance(0.5):
            return self._answer_later(flush, verdict)
        return self._answer(flush, verdict)

    def _verdict(self, failure: Failure[Item]) -> object:
        """Return a verdict, a wrong answer or an exception; drop items after many attempts."""
        worn_out = failure.attempt >= MOST_ATTEMPTS
        pause = self._dice.choice([0.0, 0.0, 0.125, 0.5, 1.0, 3.0])
        text = f"the handler, asked about {failure.items}"
        verdicts: dict[str, object] = {
            "fail": Fail(),
            "drop": Drop(),
            "retry": Drop() if worn_out else Retry(pause, hold=self._dice.chance(0.2)),
            "split": Split() if len(failure.items) > 1 else Drop(),
            "raise": error_of(failure.items[0].number, text),
            "reraise": failure.error,
            "nonsense": "drop",
        }
        is_fault = self._dice.chance(self._severity)
        return verdicts[self._dice.choice(FAULTS if is_fault else VERDICTS)]

    def _answer(self, flush: Flush, verdict: Any) -> Verdict:
        """Return the verdict, or raise it if it is an exception."""
        self.users.history.note("handler", "  answers", verdict)
        if isinstance(verdict, BaseException):
            self.users.mirror.break_handler(flush, verdict)
            raise verdict
        self.users.mirror.judge(flush, verdict)
        return verdict  # type: ignore[no-any-return]  # a wrong answer is intended

    async def _answer_later(self, flush: Flush, verdict: object) -> Verdict:
        try:
            await self._wait()
        except asyncio.CancelledError as cancelled:
            dying = ValueError(f"the handler of {flush}, dying")
            return self._answer(flush, self._dice.choice([cancelled, cancelled, dying, verdict]))
        return self._answer(flush, verdict)

    async def _wait(self) -> None:
        for _ in range(self._dice.choice([0, 0, 1, 2])):
            await asyncio.sleep(0)
        if self._dice.chance(0.1):
            await self.users.enqueue(Actor("handler"), self._make_item())
        await asyncio.sleep(self._dice.choice([0.0, 0.0, 0.25, 1.0, 4.0]))
