"""The caps of a batch: the most items that it may have, and the most weight.

No batch exceeds its caps, whatever the reason of its flush.

Weights are summed in the order of the items, as ints, floats and Fractions. A weight of another
type is converted when it is checked, because sums of small types (such as float16) can overflow. An
item is refused if it weighs more than ``max_weight`` (the limit of a batch) or ``max_queue_weight``
(the limit of all waiting items together). So each accepted item fits into a batch, and into an
empty queue.
"""

import math
import reprlib
import sys
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from flushq.arguments import as_plain, check_number, check_positive, check_sync_callable
from flushq.core.duplicates import discard
from flushq.errors import ItemTooLarge

T = TypeVar("T")

Weigh = Callable[[T], float]

Weights = Callable[[int, int], list[float]]
"""A function of i and j that returns the weights of the items at the positions from i to j - 1."""

MOST_WEIGHT = 1e300

_FIRST_LOOK = 64
"""How many weights Caps.within asks for at first. Then it doubles this number each time."""

_PLAIN = frozenset({int, float})


class Caps(Generic[T]):
    """The caps of a batch, and the check of weights.

    Args:
        weigh: The function that returns the weight of an item, a number from 0 to 1e300. (With this
            maximum the total weight of all waiting items is finite, too.) None: all items weigh 0.
        max_records: The most items in a batch. None: no cap.
        max_weight: The most weight in a batch. None: no cap.
        max_queue_weight: The most weight that all waiting items may have together. None: no limit.
        label: The prefix of the messages of exceptions.

    Raises:
        TypeError: There are three cases: ``weigh`` is async or cannot be called; ``weigh`` is None
            although ``max_weight`` or ``max_queue_weight`` is given; ``max_queue_weight`` is not a
            real number.
        ValueError: ``max_queue_weight`` is zero, negative or NaN.

    Attributes:
        max_queue_weight: The most weight that all waiting items may have together, as an int, a
            float or a Fraction; inf if there is no limit.
        max_records: The most items in a batch; without a cap, a number that is never reached.
    """

    __slots__ = (
        "_heaviest",
        "_label",
        "_max_weight",
        "_weigh",
        "max_queue_weight",
        "max_records",
    )

    def __init__(
        self,
        weigh: Weigh[T] | None,
        max_records: int | None,
        max_weight: float | None,
        max_queue_weight: float | None,
        label: str,
    ) -> None:
        check_sync_callable("weigh", weigh)
        if max_queue_weight is not None:
            check_positive("max_queue_weight", max_queue_weight)
        if weigh is None and max_weight is not None:
            raise _needs_weigh("max_weight", max_weight)
        if weigh is None and max_queue_weight is not None:
            raise _needs_weigh("max_queue_weight", max_queue_weight)
        self._weigh = weigh
        self.max_records = sys.maxsize if max_records is None else max_records
        self._max_weight: float = math.inf if max_weight is None else as_plain(max_weight)
        bound = math.inf if max_queue_weight is None else as_plain(max_queue_weight)
        self.max_queue_weight: float = bound
        self._heaviest = min(self._max_weight, bound)
        self._label = label

    def weight_of(self, item: T) -> float:
        """Return the weight of an item, as an int, a float or a Fraction.

        Raises:
            ItemTooLarge: The item weighs more than ``max_weight`` or ``max_queue_weight``.
            TypeError: The weight is not a real number, or is awaitable.
            ValueError: The weight is not from 0 to 1e300.
            Exception: Any exception that ``weigh`` raises.
        """
        return 0 if self._weigh is None else self.checked(item, self._weigh(item))

    def checked(self, item: T, weight: float) -> float:
        """Check a weight, convert it if necessary, and return it: see :meth:`weight_of`."""
        if not (type(weight) in _PLAIN and 0 <= weight <= MOST_WEIGHT):
            weight = _checked_number(weight)
        if weight > self._heaviest:
            raise self._too_large(item, weight)
        return weight

    def _too_large(self, item: T, weight: float) -> ItemTooLarge:
        is_for_batch = weight > self._max_weight
        cap = "max_weight" if is_for_batch else "max_queue_weight"
        return ItemTooLarge(
            f"{self._label}the item weighs {weight!r}, more than {cap}="
            f"{self._max_weight if is_for_batch else self.max_queue_weight!r}: {reprlib.repr(item)}"
        )

    def within(self, weights: Weights, count: int) -> tuple[int, float]:
        """Return how many of the ``count`` oldest items a batch may take, and their total weight.

        Only ``max_weight`` limits the batch here. ``weights`` returns the weights of the items.
        """
        taken = 0
        total: float = 0
        while taken < count:
            for weight in weights(taken, min(count, 2 * taken + _FIRST_LOOK)):
                heavier = total + weight
                if heavier > self._max_weight:
                    return taken, total
                taken, total = taken + 1, heavier
        return count, total


def _needs_weigh(name: str, bound: float) -> TypeError:
    return TypeError(f"{name}={bound!r} needs weigh, a function that returns the weight of an item")


def _checked_number(weight: Any) -> float:
    if hasattr(weight, "__await__"):
        discard(weight)
        raise TypeError(f"weigh must not be async: it returned {weight!r}")
    check_number("the weight of an item", weight, least=0)
    number: float = as_plain(weight)
    if number > MOST_WEIGHT:
        raise ValueError(f"the weight of an item must be at most {MOST_WEIGHT}, not {weight!r}")
    return number
