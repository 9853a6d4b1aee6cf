"""P12: a Batched with partitions loads the keys of one partition together."""

import asyncio
from typing import Any

import pytest

from flushq import Drop, Failure, ItemFailed, NaturalPolicy
from tests.contract.partitions import Unequal, letter_of, told
from tests.contract.support import patient, settle
from tests.contract.test_20_batched import Doubling, batched_of, called, ends, kinds


async def test_keys_of_one_partition_are_loaded_together() -> None:
    """Each caller gets the result of its key, and callers of the same key share it."""
    load: Any = Doubling()
    async with batched_of(load, patient(), partition_key=letter_of) as batched:
        callers = called(batched, "a1", "b1", "a2", "b1", "a1")
        await settle()
        await batched.queue.flush()
        assert [2 * key for key in ("a1", "b1", "a2", "b1", "a1")] == await ends(callers)
    assert [["a1", "a2"], ["b1"]] == load.calls


async def test_equal_keys_of_two_partitions_are_two_keys() -> None:
    """Equal keys of two partitions are loaded separately, and callers get their own result."""
    load = Doubling()
    async with batched_of(load, patient(), partition_key=type) as batched:
        callers = called(batched, 1, 1.0, True, 1)
        await settle()
        await batched.queue.flush()
        assert ["2", "2.0", "2", "2"] == [str(result) for result in await ends(callers)]
    assert ["[1]", "[1.0]", "[True]"] == [str(call) for call in load.calls]


async def test_equal_keys_that_are_not_shared() -> None:
    """With share=False each call is a separate key in its partition, and is not hashed."""
    load: Any = Doubling()
    async with batched_of(load, patient(), partition_key=len, share=False) as batched:
        callers = called(batched, [1], [2, 3], [1])
        await settle()
        await batched.queue.flush()
        assert [[1, 1], [2, 3, 2, 3], [1, 1]] == await ends(callers)
    assert [[[1], [1]], [[2, 3]]] == load.calls


@pytest.mark.parametrize(("most", "calls"), [(1, ["a1", "b1"]), (2, ["a1", "b1", "a2"])])
async def test_how_many_calls_of_one_partition_run(most: int, calls: list[str]) -> None:
    """max_in_flight_per_partition counts calls of the loader; by default one runs."""
    load: Any = Doubling(seconds=1.0)
    options = {"max_in_flight": 4} | ({} if most == 1 else {"max_in_flight_per_partition": most})
    async with batched_of(load, NaturalPolicy(1), partition_key=letter_of, **options) as batched:
        callers = called(batched, "a1", "a2", "b1", "a3")
        await settle()
        assert calls == [key for keys in load.calls for key in keys]
        await ends(callers)


async def test_a_partition_that_fails_is_that_of_its_callers_alone() -> None:
    """The handler gets the partition that failed, and callers of other partitions get results."""
    failures: list[Failure[Any]] = []

    def handler(failure: Failure[Any]) -> Drop:
        failures.append(failure)
        return Drop()

    load = Doubling(answers=[OSError("no disk")])
    options = {"partition_key": letter_of, "on_failure": handler}
    async with batched_of(load, NaturalPolicy(), **options) as batched:
        results = await ends(called(batched, "a1", "b1", "a2"))
    assert [ItemFailed, str, ItemFailed] == kinds(results)
    assert [("a", ["a1", "a2"])] == [(failure.partition, failure.items) for failure in failures]


async def test_what_is_not_a_partition_is_the_callers_error() -> None:
    """An error of partition_key is raised in its caller, and other callers get their results."""
    load = Doubling()
    async with batched_of(load, NaturalPolicy(), partition_key=told, share=False) as batched:
        first = called(batched, "a")
        with pytest.raises(TypeError, match=r"must be hashable, not \['a'\]"):
            await batched(["a"])
        with pytest.raises(ZeroDivisionError):
            await asyncio.gather(*called(batched, Unequal(), Unequal()))
        assert ["aa"] == await ends(first)


async def coroutine(_: object) -> int:
    """Return a number, but only when awaited."""
    return 1


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("partition_key", "id", TypeError),
        ("partition_key", coroutine, TypeError),
        ("max_in_flight_per_partition", 0, ValueError),
    ],
)
def test_bad_arguments(name: str, value: Any, kind: type[Exception]) -> None:
    """The arguments for partitions are checked like those of a queue."""
    with pytest.raises(kind, match=f"{name} must "):
        batched_of(Doubling(), NaturalPolicy(), **{name: value})
