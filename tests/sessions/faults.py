"""What a sink does, call by call, and how it fails: as a whole, in parts, with certain items."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from flushq import PartialFailure
from tests.sessions.errors import FAULTS, error_of
from tests.sessions.facts import Item


@attrs.frozen
class Behaviour:
    """What the sink does with one batch.

    Attributes:
        seconds: How long it waits.
        steps: For how many turns of the loop it waits before.
        error: What it raises.
        partial: Which items that error names, if it is to be a PartialFailure.
        fails: With how many calls in a row, of the same flush, it does all this.
        early: Whether it raises before its first await.
        works: For how long it keeps the loop busy.
        mutates: Whether it changes the list that it was handed.
        enters: How it brings an item to its own queue, if it does.
        strikes: How many times an owner is interrupted, the last time right after its last step.
        dying: What it does when it is cancelled: "die", "raise", "part", "return" or "linger".
    """

    seconds: float = 0.0
    steps: int = 0
    error: type[BaseException] | None = None
    partial: str | None = None
    fails: int = 1
    early: bool = False
    works: float = 0.0
    mutates: bool = False
    enters: str | None = None
    strikes: int = 0
    dying: str = "die"


def behaviours(seed: int, wickedness: float, trouble: float = 0.0) -> Iterator[Behaviour]:
    """What a sink does, call by call.

    ``wickedness`` is the share of calls with a fault, ``trouble`` that of those that fail, for a
    handler to deal with.
    """
    dice = random.Random(seed)
    while True:
        behaviour = Behaviour(
            seconds=dice.choice([0.0, 0.0, 0.25, 0.5, 1.0, 1.0, 2.0, 0.8125]),
            steps=dice.choice([0, 0, 0, 1, 2]),
        )
        if dice.random() < wickedness:
            behaviour = attrs.evolve(behaviour, **_fault(dice))
        if dice.random() < trouble:
            behaviour = attrs.evolve(behaviour, **_trouble(dice))
        yield behaviour


WAYS_IN = ["plain", "plain", "nowait", "gather", "timeout", "orphan", "submit", "deliver"]


def _fault(dice: random.Random) -> dict[str, Any]:
    roll = dice.random()
    if roll < 0.12:
        partial = dice.choice([None, None, None, *WHICH, *SENSELESS])
        return {"partial": partial, **_failure(dice)}
    if roll < 0.2:
        return {"mutates": True}
    if roll < 0.3:
        return {"works": 0.375}
    if roll < 0.6:
        return {"enters": dice.choice(WAYS_IN)}
    return {"dying": dice.choice(["raise", "part", "return", "linger"]), "seconds": 4.0}


def _trouble(dice: random.Random) -> dict[str, Any]:
    return {
        "partial": dice.choice([None, None, *WHICH]),
        "fails": dice.choice([1, 1, 1, 2, 3]),
        **_failure(dice),
    }


def _failure(dice: random.Random) -> dict[str, Any]:
    early = dice.random() < 0.5
    strikes = 0 if early else dice.choice([0, 1, 1, 2])
    return {"error": dice.choice(FAULTS), "early": early, "strikes": strikes}


def partial_failure(which: str, count: int) -> PartialFailure:
    """One of so many items; not always of what it may name."""
    indices: dict[str, list[Any]] = {
        "all": list(reversed(range(count))),
        "last": [count - 1],
        "even": list(range(0, count, 2)),
        "beyond": [0, count],
        "negative": [-1],
        "none": [],
        "false": [False],
        "text": [0],
    }
    errors: dict[Any, Any] = {
        index: "no exception" if which == "text" else error_of(index, f"item {index} of {count}")
        for index in indices[which]
    }
    return PartialFailure(errors)


WHICH = ["all", "last", "last", "last", "even", "even", "even"]
SENSELESS = ["beyond", "negative", "none", "false", "text"]


POISONED = 7
SICKLY = 3
"""Items whose number is a multiple of these are poisoned, or sickly: they fail a few times."""

POISONS = "whole", "partial", "healing"


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
