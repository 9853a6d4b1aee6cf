"""Rules of merging, each broken in one way: the sessions must find each of them."""

from collections.abc import Hashable
from typing import Any

from flushq.core.batcher import Batcher
from flushq.core.displacing import DropNewest, DropOldest
from flushq.core.merging import Merging
from flushq.core.need import Need
from flushq.core.partitioned_batcher import PartitionedBatcher
from flushq.core.receipts import Receipts
from flushq.core.waiting import Waiting
from flushq.errors import ItemTooLarge

# ruff: noqa: SLF001 - the broken members are private

Sabotage = tuple[type, str, object]
AnyMerging = Merging[Any]


def _nothing(*_: object, **__: object) -> None: ...


def _fold_from_the_right(merging: AnyMerging, waiting: Any, item: Any, key: Hashable) -> Any:
    _, weight = merging._measure(item)
    return MERGED(merging, type(waiting)(item, weight), waiting.item, key)


def _keep_weight(merging: AnyMerging, waiting: Any, item: Any, key: Hashable) -> Any:
    return type(waiting)(MERGED(merging, waiting, item, key).item, waiting.weight)


def _change_key(merging: AnyMerging, waiting: Any, item: Any, key: Hashable) -> Any:
    merged = merging._merge(waiting.item, item)
    return type(waiting)(merged, merging._measure(merged)[1])


def _grow_too_heavy(merging: AnyMerging, waiting: Any, item: Any, key: Hashable) -> Any:
    try:
        return MERGED(merging, waiting, item, key)
    except ItemTooLarge:
        merged = merging._merge(waiting.item, item)
        return type(waiting)(merged, merged.weight)


MERGED = Merging._merged


def _foresee_for_good(merging: AnyMerging, number: int, item: Any, key: Hashable) -> Any:
    foreseen = FORESEEN.get((merging, item))
    if foreseen is None:
        foreseen = FORESEEN[merging, item] = FORESEE(merging, number, item, key)
    return foreseen


FORESEE = Merging._foresee
FORESEEN: dict[tuple[AnyMerging, Any], Any] = {}


def _whole_weight(merging: AnyMerging, number: int, item: Any, key: Hashable) -> float:
    return merging._foresee(number, item, key).weight


def _count_first(waiting: Waiting[Any], item: Any, key: Hashable) -> int:
    waiting.duplicates += 1
    number = STAY(waiting, item, key)
    waiting.duplicates -= 1
    return number


STAY = Waiting._stay


def _merge_and_raise(merging: AnyMerging, number: int, item: Any, key: Hashable) -> None:
    try:
        MERGE(merging, number, item, key)
    except Exception:
        merging._waiting[number] = merging._waiting[number]._replace(item=item)
        raise


MERGE = Merging.merge


def _merge_without_room(
    admission: DropNewest[Any], item: Any, key: Hashable, weight: float
) -> bool:
    return admission._buffer.is_duplicate(key) or MAKE_ROOM(admission, item, key, weight)


MAKE_ROOM = DropNewest.make_room


def _displace_for_a_new_item(
    admission: DropOldest[Any], item: Any, key: Hashable, weight: float
) -> bool:
    while not admission.fits(Need(1, weight)):
        admission.on_displaced(*admission._batcher.displace())
    return True


def _reweigh_what_is_fresh(
    batcher: Batcher[Any], number: int, key: Hashable, change: float
) -> None:
    batcher.buffer.fresh_weight += change


def _reweigh_without_asking(
    batcher: Batcher[Any], number: int, key: Hashable, change: float
) -> None:
    REWEIGH(batcher, number, key, change)
    batcher._is_corrected = False


REWEIGH = Batcher._reweigh


def _reweigh_the_partition_alone(
    batcher: PartitionedBatcher[Any], number: int, key: Hashable, change: float
) -> None:
    REWEIGH_IN_PARTITION(batcher, number, key, change)
    batcher._items.weight -= change


def _reweigh_partition_without_asking(
    batcher: PartitionedBatcher[Any], number: int, key: Hashable, change: float
) -> None:
    REWEIGH_IN_PARTITION(batcher, number, key, change)
    batcher._corrected.clear()


REWEIGH_IN_PARTITION = PartitionedBatcher._reweigh


MERGE_SABOTAGES: dict[str, Sabotage] = {
    "items are not merged": (Merging, "merge", _nothing),
    "items are folded from the right": (Merging, "_merged", _fold_from_the_right),
    "a merged item keeps its old weight": (Merging, "_merged", _keep_weight),
    "a merge may change the key": (Merging, "_merged", _change_key),
    "a merged item may be too heavy": (Merging, "_merged", _grow_too_heavy),
    "a merge uses an outdated result": (
        Merging,
        "_foresee",
        _foresee_for_good,
    ),
    "a failed merge changes the waiting item": (Merging, "merge", _merge_and_raise),
    "a failed merge counts as a duplicate": (Waiting, "_stay", _count_first),
    "a merge needs no room": (Merging, "growth", lambda *_: 0),
    "a merge needs room for the whole weight": (Merging, "growth", _whole_weight),
    "reserved room is always enough": (Need, "is_met_by", lambda *_: True),
    "the newest are merged without room": (DropNewest, "make_room", _merge_without_room),
    "a merge displaces as much as a new item": (DropOldest, "make_room", _displace_for_a_new_item),
    "the weight that the policy knows is not corrected": (
        Batcher,
        "_reweigh",
        _reweigh_what_is_fresh,
    ),
    "no policy is asked about new weights": (Batcher, "_reweigh", _reweigh_without_asking),
    "merges do not change the total weight": (
        PartitionedBatcher,
        "_reweigh",
        _reweigh_the_partition_alone,
    ),
    "no partition is asked about new weights": (
        PartitionedBatcher,
        "_reweigh",
        _reweigh_partition_without_asking,
    ),
    "receipts show the first item": (Receipts, "_renew", _nothing),
}
"""The class and the name of each broken member, and its replacement."""
