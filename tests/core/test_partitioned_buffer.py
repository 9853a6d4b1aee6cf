"""The items that wait, by partition: what cannot be seen from outside."""

from typing import Any

import pytest

from flushq.core.partitioned_buffer import PartitionedBuffer


class Key:
    """A key that may be changed so that it cannot be hashed, and does something when it is hashed.

    Attributes:
        number: What it is equal by; None: it cannot be hashed.
        acts: What is done each time that it is hashed, one after the other.
    """

    def __init__(self, number: int | None) -> None:
        self.number = number
        self.acts: list[Any] = []

    def __hash__(self) -> int:
        """Fail without a number."""
        if self.acts:
            self.acts.pop()()
        if self.number is None:
            raise TypeError("a deleted row cannot be hashed")
        return 1

    def __eq__(self, other: object) -> bool:
        """Compare the numbers."""
        return isinstance(other, Key) and self.number == other.number


def key_of(item: Any) -> Any:
    """The key of an item."""
    return item[0]


@pytest.mark.parametrize("number", [None, 2, 9])
def test_a_partition_whose_key_was_changed_is_forgotten_and_no_other(number: int | None) -> None:
    """Its items can be taken; so can those of another that was changed, or that it equals now."""
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
    """Both items wait in the same partition, whichever step it comes between."""
    for step in range(1, 9):
        buffer: PartitionedBuffer[Any] = PartitionedBuffer(key_of)
        key = Key(1)
        key.acts = [lambda buffer=buffer: buffer.append((Key(1), "meanwhile")), *[int] * step]
        buffer.append((key, "item"))
        key.acts.clear()
        assert 1 == len(buffer.partitions)
        assert len(buffer) == len(buffer.take_all()[1])


def test_the_number_of_an_item_that_has_just_come() -> None:
    """What has come behind it meanwhile has a number of its own."""
    for dedupe_key in (None, id):
        buffer: PartitionedBuffer[Any] = PartitionedBuffer(len, dedupe_key)
        items = ["a", "bb", "c", "dd"]
        for item in items:
            buffer.append(item)
        assert [0, 1, 2, 3] == [buffer.number_of(item, None) for item in items]
        assert items == [buffer[number] for number in range(4)]
    assert 2 == buffer.number_of("a", buffer.append("c"))
