"""Items that a sink cannot take: which, how it fails with them, and for how long."""

from collections import Counter
from collections.abc import Sequence

from flushq import PartialFailure
from tests.sessions.errors import error_of
from tests.sessions.facts import Item

POISONED = 7
SICKLY = 3
"""Items whose number is a multiple of these are poisoned, or sickly: they fail a few times."""

KINDS = "whole", "partial", "healing"


class Poison:
    """What a sink makes of poisoned items.

    Args:
        kind: "whole" (the batch fails), "partial" (they fail) or "healing" (the sickly fail once or
            twice). None: it takes them like others.
    """

    def __init__(self, kind: str | None) -> None:
        self._kind = kind
        self._failures: Counter[Item] = Counter()

    def error(self, batch: Sequence[Item]) -> BaseException | None:
        """Fail, if there is a poisoned item in the batch."""
        errors = {
            index: error_of(item.number, f"{item} is poisoned")
            for index, item in enumerate(batch)
            if self._is_poisonous(item)
        }
        if not errors:
            return None
        self._failures.update(batch[index] for index in errors)
        return PartialFailure(errors) if self._kind != "whole" else next(iter(errors.values()))

    def _is_poisonous(self, item: Item) -> bool:
        if self._kind == "healing":
            return item.number % SICKLY == 0 and self._failures[item] <= item.number % 2
        return self._kind is not None and item.number % POISONED == 0
