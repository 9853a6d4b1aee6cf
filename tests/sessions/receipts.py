"""Receipts: each tells the fate of its item and of no other, and always the same."""

from asyncio import CancelledError

from flushq import Dropped, ItemFailed, QueueEnded, Receipt
from tests.sessions.account import Account
from tests.sessions.causes import Told, is_same
from tests.sessions.endings import Endings
from tests.sessions.facts import DELIVERED, DROPPED, FAILED, Fate, Item
from tests.sessions.history import History
from tests.sessions.outcomes import Flaw, Outcomes
from tests.sessions.waiting import Wait

KINDS: dict[str, type[ItemFailed]] = {FAILED: ItemFailed, DROPPED: Dropped}


class Receipts:
    """The receipts that were given, and those who await them.

    Attributes:
        waits: Those who do.
    """

    def __init__(
        self, history: History, account: Account, endings: Endings, outcomes: Outcomes
    ) -> None:
        self.waits: dict[Wait, None] = {}
        self._history = history
        self._account = account
        self._endings = endings
        self._outcomes = outcomes
        self._given: dict[Item, Receipt[Item]] = {}
        self._open: dict[Item, Receipt[Item]] = {}
        self._answers: dict[Item, Told] = {}
        self._told: list[ItemFailed] = []

    def given(self, item: Item, receipt: Receipt[Item]) -> None:
        """Somebody has submitted an item; it, or the one of which it is a duplicate, stayed."""
        if receipt.item is not item:
            self._history.complain(19, f"the receipt of {item} is that of {receipt.item}")
        if self._given.setdefault(item, receipt) is not receipt:
            self._history.complain(19, f"there are two receipts of {item}")
        self._open[item] = receipt

    def awaited(self, wait: Wait) -> None:
        """Somebody awaits a receipt."""
        self.waits[wait] = None
        wait.called_in = self._history.loop.iteration
        wait.refusable = wait.inside is not None and not wait.inside.over

    def told(self, wait: Wait, error: BaseException | None) -> None:
        """They await it no more."""
        del self.waits[wait]
        flaw = self._flaw(wait, error)
        if flaw is not None:
            point, text = flaw
            self._history.complain(point, f"{wait.who}, receipt of {wait.item}: {error!r} {text}")

    def _flaw(self, wait: Wait, error: BaseException | None) -> Flaw:
        if isinstance(error, CancelledError | GeneratorExit):
            return None if self._may_go(wait) else (11, "though nobody cancelled it")
        if wait.cancelled:
            return (11, "swallows a cancellation")
        if type(error) is RuntimeError:
            return None if wait.refusable else (19, "though it is not inside a flush")
        if wait.refusable and wait.called_in != self._history.loop.iteration:
            return (19, "though it has waited inside a flush")
        if not self._may_have_ended(wait.item):
            return (19, "came before its end")
        return self._flaw_of_change(wait.item, error) or self._flaw_of_fate(wait.item, error)

    def _may_go(self, wait: Wait) -> bool:
        stopped = wait.inside is not None and self._endings.interrupts
        return stopped or wait.may_go(self._history.loop.time())

    def _flaw_of_change(self, item: Item, error: BaseException | None) -> Flaw:
        """What a receipt has told once it tells always."""
        told = Told.by(error)
        before = self._answers.setdefault(item, told)
        same = before.is_same(told)
        return None if same else (19, f"of {told.cause!r}, though it has told {before}")

    def _flaw_of_fate(self, item: Item, error: BaseException | None) -> Flaw:
        fate = self._fate(item)
        if fate is None:
            if isinstance(error, QueueEnded):
                return self._outcomes.flaw_of_early_outcome(error)
            return (19, "though the queue ended first")
        if error is None:
            return None if fate.kind == DELIVERED else (19, f"though it was {fate.kind}")
        if not isinstance(error, ItemFailed) or type(error) is not KINDS.get(fate.kind):
            return (19, f"though it was {fate.kind}")
        return self._flaw_of_failure(item, error, fate)

    def _flaw_of_failure(self, item: Item, error: ItemFailed, fate: Fate) -> Flaw:
        if error.item is not item:
            return (19, f"is of {error.item}")
        if not is_same(error.__cause__, fate.cause):
            return (19, f"has the cause {error.__cause__!r}, not {fate.cause!r}")
        if any(error is other for other in self._told):
            return (19, "is an object that somebody else got")
        self._told.append(error)
        return None

    # The item.

    def _fate(self, item: Item) -> Fate | None:
        flight = self._account.flight_of.get(item)
        return None if flight is None else flight.fates.get(item)

    def _has_ended(self, item: Item) -> bool:
        """Whether nothing can happen to it any more; to be asked at an idle moment."""
        flight = self._account.flight_of.get(item)
        if flight is None:
            return self._endings.stopped
        return flight.over or item in flight.fates

    def _may_have_ended(self, item: Item) -> bool:
        """The same, of any moment."""
        flight = self._account.flight_of.get(item)
        if flight is None or not flight.called:
            return self._endings.stops
        return item in flight.fates or self._endings.may_be_over(flight)

    # An idle moment.

    def check_idle(self) -> None:
        """Nobody waits for an item that has ended, and its receipt says so, though others go on."""
        for wait in self.waits:
            if self._has_ended(wait.item):
                self._history.complain(19, f"{wait.who} still awaits the receipt of {wait.item}")
        for item, receipt in list(self._open.items()):
            done, ended = receipt.done(), self._has_ended(item)
            if done != ended:
                self._history.complain(19, f"done() of the receipt of {item} is {done}")
            if ended:
                del self._open[item]
