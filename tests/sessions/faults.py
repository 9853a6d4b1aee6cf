"""What a sink does, call by call, and how it fails: as a whole, or with some of the items."""

import random
from collections.abc import Iterator
from typing import Any

import attrs

from flushq import PartialFailure
from tests.sessions.errors import FAULTS, error_of


@attrs.frozen
class Behaviour:
    """What the sink does with one batch.

    Attributes:
        seconds: How long it waits.
        steps: For how many turns of the loop it waits before.
        error: What it raises.
        partial: Which items that error names, if it is to be a PartialFailure.
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
            behaviour = attrs.evolve(behaviour, **_failure(dice))
        yield behaviour


WAYS_IN = ["plain", "plain", "nowait", "gather", "timeout", "orphan", "submit", "deliver"]
PARTS = ["all", "last", "last", "even", "even", "beyond"]


def _fault(dice: random.Random) -> dict[str, Any]:
    roll = dice.random()
    if roll < 0.12:
        return _failure(dice)
    if roll < 0.2:
        return {"mutates": True}
    if roll < 0.3:
        return {"works": 0.375}
    if roll < 0.6:
        return {"enters": dice.choice(WAYS_IN)}
    return {"dying": dice.choice(["raise", "part", "return", "linger"]), "seconds": 4.0}


def _failure(dice: random.Random) -> dict[str, Any]:
    early = dice.random() < 0.5
    strikes = 0 if early else dice.choice([0, 1, 1, 2])
    partial = dice.choice([None, None, None, *PARTS])
    return {"error": dice.choice(FAULTS), "partial": partial, "early": early, "strikes": strikes}


def partial_failure(which: str, count: int) -> PartialFailure:
    """One of so many items; "beyond" names one that there is not."""
    indices = {
        "all": range(count - 1, -1, -1),
        "last": [count - 1],
        "even": range(0, count, 2),
        "beyond": [0, count],
    }
    return PartialFailure(
        {index: error_of(index, f"item {index} of {count}") for index in indices[which]}
    )
