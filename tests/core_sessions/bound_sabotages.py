"""Rules of bounds, each broken in one way: the sessions must find each of them."""

from collections.abc import Callable
from typing import Any

from flushq.core.admission import Admission
from flushq.core.batcher import Batcher
from flushq.core.caps import Caps
from flushq.core.displacing import Displacing, DropNewest, DropOldest
from flushq.core.need import Need
from flushq.core.receipts import Receipts
from flushq.core.running_policy import RunningPolicy

# ruff: noqa: SLF001 - the broken members are private

Sabotage = tuple[type, str, object]


def _nothing(*_: object, **__: object) -> None: ...


def _count_known(batcher: Batcher[Any], *, is_known: bool) -> None:
    COUNT_DISPLACED(batcher, is_known=True)


def _count_without_pressure(batcher: Batcher[Any], *, is_known: bool) -> None:
    COUNT_DISPLACED(batcher, is_known=is_known)
    batcher.overflowed = False


COUNT_DISPLACED = Batcher._count_displaced


def _checked(caps: Caps[Any], item: Any, weight: float) -> float:
    return weight if weight <= caps._max_weight else CHECKED(caps, item, weight)


CHECKED = Caps.checked


def _fits_beside(
    places: Callable[[Admission[Any]], int], weight: Callable[[Admission[Any]], float]
) -> Callable[[Admission[Any], Need], bool]:
    """Return a rule that counts only these places and this weight as claimed by others."""
    return lambda self, need: (
        need.places <= self.room - places(self) and self._bears(need.weight, weight(self))
    )


def _displace_without_facts(policy: RunningPolicy, weight: float) -> None:
    DISPLACED(policy, 0)


DISPLACED = RunningPolicy.displaced


def _pressed_by_number(admission: Admission[Any]) -> bool:
    is_full = len(admission._buffer.items) >= admission._max_queue_size
    return is_full and bool(admission.waitlist.line)


BOUND_SABOTAGES: dict[str, Sabotage] = {
    "weight is not bounded": (Admission, "_bears", lambda *_: True),
    "an item may be too heavy for the queue": (Caps, "checked", _checked),
    "reserved room is given twice": (
        Admission,
        "fits",
        _fits_beside(lambda self: 0, lambda self: self._weight_giving_way),
    ),
    "reserved weight is ignored": (
        Admission,
        "fits",
        _fits_beside(lambda self: self.waitlist.reserved, lambda self: self._weight_giving_way),
    ),
    "the weight of pausing producers is ignored": (
        Admission,
        "fits",
        _fits_beside(
            lambda self: self.waitlist.reserved, lambda self: self.waitlist.reserved_weight
        ),
    ),
    "a light item overtakes the line": (
        Admission,
        "_fits_beside_line",
        lambda self, need: self.fits(Need(need.places + len(self.waitlist.line), need.weight)),
    ),
    "weight is no pressure": (Admission, "is_pressed", property(_pressed_by_number)),
    "a full queue that displaces is no pressure": (
        Displacing,
        "is_pressed",
        property(lambda _: False),
    ),
    "displacing is no pressure": (Batcher, "_count_displaced", _count_without_pressure),
    "the newest are displaced instead": (DropOldest, "make_room", DropNewest.make_room),
    "displaced items keep their weight": (RunningPolicy, "displaced", _displace_without_facts),
    "items that have left still weigh": (Batcher, "_lighten", _nothing),
    "the policy is not asked after a correction": (RunningPolicy, "ask_again", _nothing),
    "callers are not told that an item is displaced": (Receipts, "settle_displaced", _nothing),
    "items turned away do not count in a burst": (Batcher, "_count_displaced", _count_known),
}
