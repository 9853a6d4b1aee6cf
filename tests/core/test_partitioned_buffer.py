"""The partitioned buffer: details that a queue does not show."""

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from flushq.core.partitioned_buffer import PartitionedBuffer
from tests.threads.support import at_every_step, interrupt


class Key:
    """A key that can become unhashable, and that calls functions when it is hashed.

    Attributes:
        number: The number by which keys are equal; None if the key cannot be hashed.
        acts: The functions that are called when the key is hashed, the last one first.
    """

    def __init__(self, number: int | None) -> None:
        self.number = number
        self.acts: list[Any] = []

    def __hash__(self) -> int:
        """Call the next function, and return 1, or raise TypeError without a number."""
        if self.acts:
            self.acts.pop()()
        if self.number is None:
            raise TypeError("a deleted row cannot be hashed")
        return 1

    def __eq__(self, other: object) -> bool:
        """Compare the numbers."""
        return isinstance(other, Key) and self.number == other.number


@attrs.define(unsafe_hash=True)
class Hashed:
    """A key whose hash can change.

    Attributes:
        number: The number by which keys are equal, and which is hashed.
    """

    number: int


def key_of(item: Any) -> Any:
    """Return the key of an item."""
    return item[0]


@pytest.mark.parametrize("number", [None, 2, 9])
def test_a_partition_whose_key_was_changed_is_forgotten_and_no_other(number: int | None) -> None:
    """A partition whose key has changed can be emptied and removed, without harm to others."""
    buffer: PartitionedBuffer[Any] = PartitionedBuffer(key_of, lambda item: item)
    keys = [Key(number) for number in range(4)]
    for key in keys:
        buffer.append((key, "item"))
    partitions = [*buffer.fresh]
    keys[0].number = keys[1].number = number
    for partition in (partitions[0], partitions[3]):
        assert [(partition.key, "item")] == buffer.take_from(partition, 1)[1]
        buffer.close(partition)
    assert {*partitions[1:3]} == {*buffer.partitions.values()}
    assert buffer.partitions[Key(2)] in partitions[1:3]
    assert ([1, 2], 0) == (buffer.take_all()[0], len(buffer))
    buffer.close(partitions[2])
    buffer.close(partitions[1])
    assert {} == buffer.partitions


def test_an_item_that_comes_while_its_partition_is_opened() -> None:
    """If another item comes while a partition is made, both items wait in the same partition."""
    for step in range(1, 9):
        buffer: PartitionedBuffer[Any] = PartitionedBuffer(key_of)
        key = Key(1)
        key.acts = [lambda buffer=buffer: buffer.append((Key(1), "meanwhile")), *[int] * step]
        buffer.append((key, "item"))
        key.acts.clear()
        assert 1 == len(buffer.partitions)
        assert len(buffer) == len(buffer.take_all()[1])


def test_the_number_of_an_item_that_has_just_come() -> None:
    """``number_of`` returns the number of an item, even if other items came after it."""
    for dedupe_key in (None, id):
        buffer: PartitionedBuffer[Any] = PartitionedBuffer(len, dedupe_key)
        items = ["a", "bb", "c", "dd"]
        for item in items:
            buffer.append(item)
        assert [0, 1, 2, 3] == [buffer.number_of(item, None) for item in items]
        assert items == [buffer[number] for number in range(4)]
    assert 2 == buffer.number_of("a", buffer.append("c"))


@pytest.mark.parametrize(("waiting", "hashings"), [(0, 10), (1, 7)])
def test_a_key_that_fails_at_any_step_is_not_let_in(waiting: int, hashings: int) -> None:
    """If hashing a key raises, no partition is made, and the next item gets the same number."""

    def fail() -> None:
        raise ZeroDivisionError

    for step in range(hashings):
        buffer: PartitionedBuffer[Any] = PartitionedBuffer(key_of, lambda item: item[1])
        for _ in range(waiting):
            buffer.append((Key(1), Key(2)))
        key = Key(1)
        key.acts = [fail, *[int] * step]
        with pytest.raises(ZeroDivisionError):
            buffer.append((key, key))
        assert (waiting, waiting, 0) == (len(buffer), len(buffer.partitions), buffer.duplicates)
        assert buffer.append((Key(1), Key(1))) is None
        assert [*range(waiting + 1)] == buffer.take_all()[0]


def test_a_key_whose_hash_was_changed_is_free_when_nothing_waits() -> None:
    """A key whose hash has changed is free again when no item waits."""
    buffer: PartitionedBuffer[Any] = PartitionedBuffer(key_of, lambda item: item[1])
    key = Hashed(1)
    buffer.append(("a", key))
    buffer.append(("b", Hashed(1)))
    key.number = 2
    buffer.take_from(buffer.partitions["a"], 1)
    buffer.take_from(buffer.partitions["b"], 1)
    key.number = 1
    assert buffer.append(("a", Hashed(1))) is None


@pytest.mark.parametrize("measures", [(None, None), (str, len), (str, len, str.__add__)])
def test_an_interrupt_between_two_steps_harms_no_other_item(measures: tuple[Any, ...]) -> None:
    """After an interrupt an item either waits or not, and all counted items can be taken."""

    def play_once(make: Callable[[Callable[[], object]], None]) -> None:
        rules = dict(zip(("dedupe_key", "weigh", "merge"), measures, strict=False))
        buffer: PartitionedBuffer[str] = PartitionedBuffer(key_of, **rules)
        buffer.append("a1")
        item = "a2", *buffer.measure("a2")
        try:
            make(lambda: buffer.add(*item))
        finally:
            buffer.append("a3")
            assert buffer.take_all()[1] in (["a1", "a3"], ["a1", "a2", "a3"])
            assert 0 == len(buffer)

    assert at_every_step(interrupt, play_once) >= 1


def test_how_much_more_the_item_that_waits_would_weigh() -> None:
    """The growth of a duplicate is 0 without merging, or else the additional weight."""
    rules: dict[str, Any] = {"dedupe_key": lambda item: item % 10, "weigh": lambda item: item}
    plain = PartitionedBuffer[int](lambda _: 1, **rules)
    merging = PartitionedBuffer[int](lambda _: 1, **rules, merge=lambda old, new: old + new + 5)
    for buffer in plain, merging:
        buffer.append(5)
    assert (0, 10) == (plain.growth(5, (1, 5)), merging.growth(5, (1, 5)))
