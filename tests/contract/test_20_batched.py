"""Point 20: Batched answers each caller with the result of its own key, or says why not."""

import asyncio
import gc
import inspect
import logging
import weakref
from collections import UserList, defaultdict, deque
from collections.abc import Awaitable, Hashable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import attrs
import pytest

from flushq import (
    Batched,
    Drop,
    Fail,
    Failure,
    FlushFailed,
    FlushPolicy,
    FlushQueue,
    FlushReport,
    IntervalPolicy,
    ItemFailed,
    ItemTooLarge,
    NaturalPolicy,
    PartialFailure,
    PolicyError,
    QueueClosed,
    QueueFull,
    Retry,
    ShutdownTimeout,
    Split,
    Verdict,
)
from tests.contract.hostile import EVENTS, Broken, error_of, left_behind, own_loop
from tests.contract.support import (
    HOWS,
    How,
    Interruption,
    now,
    patient,
    settle,
    steps,
    sweep,
    until,
)

EVERY_HOW = pytest.mark.parametrize("how", HOWS)


@attrs.define(eq=False)
class Doubling:
    """A loader that returns twice the key, after so many steps of the loop and seconds.

    Attributes:
        calls: The keys of each call.
        held: None, or what each call waits for.
        answers: What the calls return instead, one after the other.
    """

    pause: int = 0
    seconds: float = 0.0
    answers: list[Any] = attrs.field(factory=list)
    held: asyncio.Event | None = None
    calls: list[list[int]] = attrs.field(factory=list, init=False)

    async def __call__(self, keys: list[int]) -> Any:
        """Return the results, in order."""
        self.calls.append(keys)
        await steps(self.pause)
        if self.seconds:
            await asyncio.sleep(self.seconds)
        if self.held is not None:
            await self.held.wait()
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, BaseException):
            raise answer
        return [2 * key for key in keys] if answer is None else answer


def batched_of(load: Any, policy: Any, **options: Any) -> Batched[Any, Any]:
    """Make a Batched of any keys and results."""
    return Batched(load, policy, **options)


def called(batched: Batched[Any, Any], *keys: Any) -> list[asyncio.Task[Any]]:
    """Start a caller of each key."""
    return [asyncio.create_task(value_of(batched(key))) for key in keys]


async def value_of(awaitable: Awaitable[Any]) -> Any:
    """Await something, in a coroutine, and return what it returns."""
    return await awaitable


async def ends(callers: list[asyncio.Task[Any]]) -> list[Any]:
    """Return what each caller has got, result or exception, in order."""
    return await asyncio.gather(*callers, return_exceptions=True)


async def answers(load: Any, *keys: Any) -> list[Any]:
    """Ask for keys together, and return what each caller gets."""
    async with batched_of(load, patient()) as batched:
        callers = called(batched, *keys)
        await settle()
        await batched.queue.flush()
        return await ends(callers)


# Results.


async def test_each_caller_gets_the_result_of_its_key() -> None:
    """Callers that ask together are answered by one call, each with its own result."""
    load = Doubling()
    async with batched_of(load, NaturalPolicy(100)) as double:
        assert [0, 2, 4, 6] == await asyncio.gather(*(double(key) for key in range(4)))
        assert 20 == await double(10)
    assert [[0, 1, 2, 3], [10]] == load.calls


async def test_batches_keep_the_caps_of_the_policy() -> None:
    """The loader never gets more keys than max_records, in the order in which they were asked."""
    load = Doubling()
    async with batched_of(load, NaturalPolicy(3)) as double:
        assert [2 * key for key in range(7)] == await asyncio.gather(*map(double, range(7)))
    assert [[0, 1, 2], [3, 4, 5], [6]] == load.calls


class Array:
    """What has a length and can be iterated over, and is no Sequence."""

    def __init__(self, values: Sequence[Any]) -> None:
        self.values = values

    def __len__(self) -> int:
        """How many there are."""
        return len(self.values)

    def __iter__(self) -> Iterator[Any]:
        """Give one after the other."""
        return iter(self.values)


class Table(Mapping[int, str]):
    """A Mapping of its own."""

    def __getitem__(self, key: int) -> str:
        """Return the value of 1 and 2."""
        return {1: "a", 2: "b"}[key]

    def __len__(self) -> int:
        """Two."""
        return 2

    def __iter__(self) -> Iterator[int]:
        """Give the keys."""
        return iter((2, 1))


RESULTS: dict[str, Any] = {
    "list": ["a", "b"],
    "tuple": ("a", "b"),
    "deque": deque(["a", "b"]),
    "UserList": UserList(["a", "b"]),
    "array": Array(["a", "b"]),
    "values": {5: "a", 4: "b"}.values(),
    "dict": {2: "b", 1: "a", 3: "c"},
    "proxy": MappingProxyType({1: "a", 2: "b"}),
    "Mapping": Table(),
}


@pytest.mark.parametrize("results", RESULTS.values(), ids=RESULTS)
async def test_sequences_and_mappings_are_results(results: Any) -> None:
    """Whatever has one result after the other is taken in order, a mapping by key."""
    assert ["a", "b"] == await answers(Doubling(answers=[results]), 1, 2)


async def test_a_defaultdict_gives_its_default() -> None:
    """A mapping that makes up what it does not have is asked like any other."""
    results = defaultdict(lambda: "none", {1: "a"})
    assert ["a", "none"] == await answers(Doubling(answers=[results]), 1, 2)


@pytest.mark.parametrize("result", [None, 0, "", (), KeyError, [OSError("in a list")]])
async def test_any_object_is_a_result(result: object) -> None:
    """A result may be None or false, an exception class, or a list of exceptions: it is returned.

    It is so in a sequence as in a mapping.
    """
    assert [result] == await answers(Doubling(answers=[[result]]), 1)
    assert [result] == await answers(Doubling(answers=[{1: result}]), 1)


async def test_a_missing_key_is_a_key_error_for_its_callers_alone() -> None:
    """A key that the mapping does not have raises KeyError with the key, a new object each."""
    got = await answers(Doubling(answers=[{1: "a"}]), 1, 2, 2)
    assert "a" == got[0]
    assert [KeyError, KeyError] == [type(error) for error in got[1:]]
    assert [(2,), (2,)] == [error.args for error in got[1:]]
    assert got[1] is not got[2]


@pytest.mark.parametrize("error", [ValueError("bad key"), KeyError(3), asyncio.CancelledError()])
async def test_an_exception_among_the_results_is_raised_as_it_is(error: BaseException) -> None:
    """An exception instance is raised to those who asked for this key, and to nobody else."""

    async def load(keys: list[int]) -> list[Any]:
        return [error if key == 2 else key for key in keys]

    async with batched_of(load, patient()) as batched:
        callers = [asyncio.create_task(error_of(batched(key))) for key in (1, 2, 2)]
        await settle()
        await batched.queue.flush()
        got = await asyncio.gather(*callers)
    assert [None, error, error] == got


async def test_an_exception_in_a_mapping_is_raised_as_it_is() -> None:
    """A mapping may hold exceptions too."""
    error = ValueError("bad key")
    assert ["a", error] == await answers(Doubling(answers=[{1: "a", 2: error}]), 1, 2)


# What is no result.


class Unlucky(Mapping[int, str]):
    """A Mapping that breaks at a key."""

    def __getitem__(self, key: int) -> str:
        """Break at 2."""
        if key == 2:
            raise ZeroDivisionError("broken")
        return "a"

    def __len__(self) -> int:
        """Any number."""
        return 1

    def __iter__(self) -> Iterator[int]:
        """Give a key."""
        return iter((1,))


class Endless:
    """An array whose iteration breaks."""

    def __len__(self) -> int:
        """As many as there should be."""
        return 2

    def __iter__(self) -> Iterator[int]:
        """Give one, and break."""
        yield 1
        raise ZeroDivisionError("broken")


BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "short": (["a"], ValueError, "the loader returned 1 results for 2 keys"),
    "long": (["a", "b", "c"], ValueError, "the loader returned 3 results for 2 keys"),
    "empty": ([], ValueError, "the loader returned 0 results for 2 keys"),
    "nothing": (object, TypeError, "must return a sequence or a mapping, not <class 'object'>"),
    "str": ("ab", TypeError, "must return a sequence or a mapping, not 'ab'"),
    "bytes": (b"ab", TypeError, "must return a sequence or a mapping, not b'ab'"),
    "set": ({1, 2}, TypeError, "must return a sequence or a mapping, not {1, 2}"),
    "frozenset": (frozenset([1, 2]), TypeError, "must return a sequence or a mapping"),
    "keys": ({1: "a", 2: "b"}.keys(), TypeError, "must return a sequence or a mapping"),
    "generator": ((key for key in "ab"), TypeError, "must return a sequence or a mapping"),
    "number": (7, TypeError, "must return a sequence or a mapping, not 7"),
    "broken mapping": (Unlucky(), ZeroDivisionError, "broken"),
    "broken array": (Endless(), ZeroDivisionError, "broken"),
}


@pytest.mark.parametrize(("results", "kind", "message"), BAD.values(), ids=BAD)
async def test_what_is_no_result_fails_its_callers(
    results: Any, kind: type[Exception], message: str
) -> None:
    """Anything else is ItemFailed for all of that call, from an error that says what came."""
    load = Doubling(answers=[results])
    async with batched_of(load, patient(2)) as double:
        got = await ends(called(double, 1, 2))
        assert [8, 10] == await ends(called(double, 4, 5))
    assert [ItemFailed, ItemFailed] == [type(error) for error in got]
    assert [1, 2] == [error.item for error in got]
    for error in got:
        assert kind is type(error.__cause__)
        assert message in str(error.__cause__)


async def test_none_is_no_result() -> None:
    """A loader that forgets to return is told so."""

    async def load(keys: list[int]) -> Any:
        return None

    (error,) = await answers(load, 1)
    assert "the loader must return a sequence or a mapping, not None" == str(error.__cause__)


async def test_a_loader_must_be_async() -> None:
    """A loader that returns at once fails its callers with a TypeError that shows what it gave."""

    def load(keys: list[int]) -> Any:
        return keys

    (error,) = await answers(load, 1)
    assert ItemFailed is type(error)
    assert TypeError is type(error.__cause__)
    assert "the loader must be async: it returned [1]" == str(error.__cause__)


async def test_a_loader_may_return_any_awaitable() -> None:
    """A plain function that returns a future is a loader."""

    def load(keys: list[int]) -> asyncio.Future[list[int]]:
        future = asyncio.get_running_loop().create_future()
        future.set_result(keys)
        return future

    assert [1, 2] == await answers(load, 1, 2)


# A loader that raises.


@pytest.mark.parametrize("error", [OSError("down"), asyncio.CancelledError("inner")])
async def test_a_loader_that_raises_fails_its_callers(error: BaseException) -> None:
    """Every caller of that call gets an ItemFailed of its own, and the next call goes on."""
    load = Doubling(answers=[error])
    async with batched_of(load, patient(2)) as double:
        got = await ends(called(double, 1, 2, 2, 3, 4))
    assert [ItemFailed] * 3 == [type(one) for one in got[:3]]
    assert 3 == len(set(map(id, got[:3])))
    assert [1, 2, 2] == [one.item for one in got[:3]]
    assert all(one.__cause__ is error for one in got[:3])
    assert [6, 8] == got[3:]
    assert [[1, 2], [3, 4]] == load.calls
    assert [] == double.queue.undelivered == double.queue.in_doubt


async def test_nothing_keeps_the_error_of_a_loader_once_it_was_told() -> None:
    """It goes with those who caught it, and does not wait for the garbage collector."""

    class Refused(Exception):
        """Raised by the loader."""

    async def load(keys: list[int]) -> Any:
        raise Refused

    gc.disable()
    try:
        async with batched_of(load, patient(2)) as load_one:
            got = await ends(called(load_one, 1, 2))
        causes = [weakref.ref(one.__cause__) for one in got]
        got.clear()
        await settle()
        assert [None, None] == [cause() for cause in causes]
    finally:
        gc.enable()


async def test_a_loader_that_raises_before_it_is_awaited() -> None:
    """A plain function that raises fails its callers likewise."""

    def load(keys: list[int]) -> Any:
        raise StopIteration("at once")

    (error,) = await answers(load, 1)
    assert ItemFailed is type(error)
    assert StopIteration is type(error.__cause__)


@pytest.mark.parametrize("indices", [(), (1,), (7,)])
async def test_a_partial_failure_of_the_loader(indices: tuple[int, ...]) -> None:
    """It says nothing of the keys: all of them have failed, and the next call goes on."""
    error = PartialFailure({index: ZeroDivisionError() for index in indices})
    async with batched_of(Doubling(answers=[error]), patient(2)) as double:
        got = await ends(called(double, 1, 2))
        assert [8, 10] == await ends(called(double, 4, 5))
        assert (2, 2) == (double.queue.stats().dropped, double.queue.stats().delivered)
    assert [ItemFailed, ItemFailed] == [type(one) for one in got]
    assert all(one.__cause__ is error for one in got)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_of_the_loader(kind: type[BaseException]) -> None:
    """KeyboardInterrupt leaves the loop and ends the queue; no caller hangs."""
    error = kind("load")

    async def session() -> list[Any]:
        batched = batched_of(Doubling(answers=[error]), NaturalPolicy(1))
        await batched.__aenter__()
        got = await asyncio.gather(*(error_of(batched(key)) for key in (1, 2)))
        got.append(await error_of(batched(3)))
        got.append(await error_of(batched.__aexit__(None, None, None)))
        return got

    with own_loop() as loop:
        main = loop.create_task(session())
        with pytest.raises(kind, match="load"):
            loop.run_until_complete(main)
        got = loop.run_until_complete(main)
    assert [ItemFailed, FlushFailed, FlushFailed, FlushFailed] == [type(one) for one in got]
    assert 1 == got[0].item
    assert all(one.__cause__ is error for one in got)


# Callers that share a key.


async def test_keys_that_wait_together_are_loaded_once() -> None:
    """Callers with one key share one request while it waits, and each gets the result."""
    load = Doubling()
    assert [2, 4, 2, 2, 4] == await answers(load, 1, 2, 1, 1, 2)
    assert [[1, 2]] == load.calls


async def test_a_key_in_flight_is_loaded_again() -> None:
    """Who asks for a key that is being loaded gets the result of a later call."""
    load = Doubling(held=asyncio.Event())
    async with batched_of(load, NaturalPolicy()) as double:
        first = called(double, 1)
        await settle()
        second = called(double, 1)
        await settle()
        assert load.held is not None
        load.held.set()
        assert [2, 2] == await ends(first + second)
    assert [[1], [1]] == load.calls


async def test_a_key_may_be_any_hashable() -> None:
    """Tuples, None and strings are keys; what is equal is one key."""

    async def load(keys: list[Hashable]) -> dict[Hashable, str]:
        calls.append(keys)
        return {key: repr(key) for key in keys}

    calls: list[list[Hashable]] = []
    assert ["(1, 2)", "None", "'a'", "1", "1"] == await answers(load, (1, 2), None, "a", 1, 1.0)
    assert [[(1, 2), None, "a", 1]] == calls


async def test_a_key_that_cannot_be_hashed_is_refused() -> None:
    """An unhashable key is a TypeError for its caller, and the others go on."""
    load = Doubling()
    async with batched_of(load, NaturalPolicy()) as double:
        with pytest.raises(TypeError, match=r"can be hashed, not \[1\]"):
            await double([1])
        assert 4 == await double(2)
    assert [[2]] == load.calls


# Callers that are cancelled.


@EVERY_HOW
async def test_a_caller_at_any_step(how: How) -> None:
    """A caller cut off at any step takes nothing from the others.

    It is left out of the call if it comes before the loader is called, and only then.
    """

    async def scenario(interrupted: Interruption) -> None:
        load = Doubling(pause=3)
        async with batched_of(load, NaturalPolicy(2), max_queue_size=2) as double:
            before = called(double, 1, 2, 3)
            await steps(2)
            sharing = called(double, 4)
            returned = await interrupted(double(5))
            after = called(double, 6)
            await double.queue.flush()
            assert [2, 4, 6, 8, 12] == await ends(before + sharing + after)
        loaded = [key for call in load.calls for key in call]
        assert len(loaded) == len(set(loaded))
        assert not returned or 5 in loaded
        assert 0 == double.queue.stats().waiting
        assert [] == left_behind()

    assert 3 <= await sweep(scenario, how)


@pytest.mark.parametrize("seconds", [None, 1e9])
async def test_who_is_cancelled_before_the_call_is_left_out(seconds: float | None) -> None:
    """At whatever step a caller is cancelled: if that is before the call, its key is not in it."""
    was_called: list[bool] = []

    async def call() -> None:
        await asyncio.wait_for(double(2), seconds)

    for step in range(8):
        load = Doubling(pause=2)
        async with batched_of(load, NaturalPolicy()) as double:
            other = called(double, 1)
            caller = asyncio.create_task(call())
            await steps(step)
            was_called.append(bool(load.calls))
            caller.cancel()
            assert [2] == await ends(other)
            assert was_called[-1] or [[1]] == load.calls
            await ends([caller])
    assert {True, False} == set(was_called)


async def test_cancelled_callers_are_left_out() -> None:
    """A request whose callers have all been cancelled before the call is not in it."""
    load = Doubling()
    async with batched_of(load, patient()) as double:
        callers = called(double, 1, 2, 3, 2)
        await settle()
        callers[0].cancel()
        callers[1].cancel()
        await settle()
        await double.queue.flush()
        got = await ends(callers)
    assert [[2, 3]] == load.calls
    assert [6, 4] == got[2:]
    assert [asyncio.CancelledError] * 2 == [type(one) for one in got[:2]]


async def test_if_nobody_is_left_the_loader_is_not_called() -> None:
    """A batch without callers is no call; a later one is made as ever."""
    load = Doubling()
    async with batched_of(load, patient()) as double:
        callers = called(double, 1, 2)
        await settle()
        for caller in callers:
            caller.cancel()
        await ends(callers)
        await double.queue.flush()
        assert [] == load.calls
        callers = called(double, 3)
        await settle()
        await double.queue.flush()
        assert [6] == await ends(callers)
    assert [[3]] == load.calls


async def test_a_caller_may_join_a_request_that_was_given_up() -> None:
    """Who asks for a key whose callers have all been cancelled is answered, in its place."""
    load = Doubling()
    async with batched_of(load, patient()) as double:
        gone = called(double, 1, 2)
        await settle()
        gone[0].cancel()
        await settle()
        late = called(double, 3, 1)
        await settle()
        await double.queue.flush()
        assert [4, 6, 2] == await ends([gone[1], *late])
    assert [[1, 2, 3]] == load.calls


async def test_a_caller_cancelled_during_the_call_leaves_it_alone() -> None:
    """The call goes on for the others; the result of who is gone is dropped."""
    load = Doubling(held=asyncio.Event())
    async with batched_of(load, NaturalPolicy()) as double:
        callers = called(double, 1, 2, 1)
        await settle()
        callers[0].cancel()
        callers[1].cancel()
        await settle()
        assert load.held is not None
        load.held.set()
        got = await ends(callers)
    assert 2 == got[2]
    assert [[1, 2]] == load.calls


async def test_a_failure_of_whom_nobody_waits_for_logs_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A loader that raises after its callers have gone leaves no trace."""
    load = Doubling(held=asyncio.Event(), answers=[OSError("down")])
    async with batched_of(load, NaturalPolicy()) as double:
        callers = called(double, 1)
        await settle()
        callers[0].cancel()
        await settle()
        assert load.held is not None
        load.held.set()
    await ends(callers)
    gc.collect()
    await settle()
    assert [] == [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_caller_that_waits_for_room_may_be_cancelled() -> None:
    """It gives its place up, and its key is never loaded."""
    load = Doubling(held=asyncio.Event())
    async with batched_of(load, NaturalPolicy(1), max_queue_size=1) as double:
        callers = called(double, 1)
        await settle()
        callers += called(double, 2, 3, 4)
        await settle()
        assert 2 == double.queue.stats().waiting
        callers[2].cancel()
        assert load.held is not None
        load.held.set()
        got = await ends(callers)
    assert [2, 4, 8] == [got[0], got[1], got[3]]
    assert [[1], [2], [4]] == load.calls


# The end.


async def test_the_end_answers_all_who_have_asked() -> None:
    """Leaving drains: everybody who has asked gets a result; who comes later is refused."""
    load = Doubling(seconds=1.0)
    async with batched_of(load, patient(2)) as double:
        callers = called(double, 1, 2, 3)
        await settle()
    assert [2, 4, 6] == await ends(callers)
    with pytest.raises(QueueClosed):
        await double(4)
    assert [] == left_behind()


@pytest.mark.parametrize("limit", [0, 1.0])
async def test_a_limit_leaves_nobody_waiting(limit: float) -> None:
    """At the limit the callers of the running call, and those in the buffer, get ShutdownTimeout.

    A caller in line for room gets QueueClosed.
    """
    load = Doubling(seconds=5.0)
    batched = batched_of(load, NaturalPolicy(1), max_shutdown_wait=limit, max_queue_size=1)
    await batched.__aenter__()
    callers = called(batched, 1)
    await settle()
    callers += called(batched, 2, 2, 3)
    await settle()
    with pytest.raises(ShutdownTimeout):
        await batched.__aexit__(None, None, None)
    got = await ends(callers)
    assert [ShutdownTimeout] * 3 + [QueueClosed] == [type(one) for one in got]
    assert 4 == len(set(map(id, got)))
    assert [[1]] == load.calls


async def test_a_call_that_returns_after_the_limit_answers() -> None:
    """A loader that shields its work, and returns after all, answers its callers."""

    async def load(keys: list[int]) -> list[int]:
        try:
            await asyncio.sleep(10.0)
        except asyncio.CancelledError:
            await asyncio.sleep(1.0)
        return keys

    async with batched_of(load, NaturalPolicy(), max_shutdown_wait=1.0) as batched:
        callers = called(batched, 1)
        await settle()
    assert [1] == await ends(callers)
    assert 2.0 == now()


async def test_a_call_that_raises_after_the_limit_is_in_doubt() -> None:
    """What a call raises that was cut short is the cause of the ShutdownTimeout of its callers."""
    error = OSError("down")

    async def load(keys: list[int]) -> list[int]:
        try:
            await asyncio.sleep(10.0)
        except asyncio.CancelledError:
            raise error from None
        return keys

    batched = batched_of(load, NaturalPolicy(), max_shutdown_wait=1.0)
    await batched.__aenter__()
    callers = called(batched, 1)
    await settle()
    with pytest.raises(ShutdownTimeout):
        await batched.__aexit__(None, None, None)
    got = await ends(callers)
    assert [ShutdownTimeout] == [type(one) for one in got]
    assert got[0].__cause__ is error


async def test_a_second_cancellation_leaves_nobody_waiting() -> None:
    """When the drain is aborted, every caller gets ShutdownTimeout."""
    batched = batched_of(Doubling(seconds=10.0), NaturalPolicy(1))
    running = asyncio.create_task(batched.queue.run())
    await settle()
    callers = called(batched, 1, 2, 2)
    await settle()
    running.cancel()
    await settle()
    running.cancel()
    assert [ShutdownTimeout] * 3 == [type(one) for one in await ends(callers)]
    assert asyncio.CancelledError is type(await error_of(running))


@pytest.mark.parametrize("event", EVENTS)
async def test_a_policy_that_raises_leaves_nobody_waiting(event: str) -> None:
    """Every caller gets PolicyError, an object each, unless its key was loaded before."""
    batched = batched_of(Doubling(seconds=1.0), Broken(event, ZeroDivisionError))
    await batched.__aenter__()
    got = await ends(called(batched, 1, 2, 2))
    assert PolicyError is type(await error_of(batched.__aexit__(None, None, None)))
    if event == "flush_done":
        assert [2, 4, 4] == got
    else:
        assert [PolicyError] * 3 == [type(one) for one in got]
        assert 3 == len(set(map(id, got)))


# A loader that asks itself.


@pytest.mark.parametrize("key", [1, 2, 3])
async def test_a_loader_may_not_ask_itself(key: int) -> None:
    """It is a RuntimeError, whether the key is in this call, waits or is new; nobody hangs."""
    errors: list[BaseException | None] = []

    async def load(keys: list[int]) -> list[int]:
        calls.append(keys)
        if keys == [1]:
            errors.append(await error_of(batched(key)))
        return keys

    calls: list[list[int]] = []
    async with batched_of(load, NaturalPolicy(1)) as batched:
        assert [1, 2] == await ends(called(batched, 1, 2))
    assert [RuntimeError] == [type(error) for error in errors]
    assert [[1], [2]] == calls


async def test_a_loader_that_asks_itself_fails_its_callers() -> None:
    """The RuntimeError, passed on, is the cause of what the callers get."""

    async def load(keys: list[int]) -> list[int]:
        return [await batched(key + 1) for key in keys]

    async with batched_of(load, NaturalPolicy()) as batched:
        (got,) = await ends(called(batched, 1))
    assert ItemFailed is type(got)
    assert RuntimeError is type(got.__cause__)


async def test_a_loader_that_asks_itself_when_there_is_no_room() -> None:
    """With a full queue it is an error too, and no deadlock."""

    async def load(keys: list[int]) -> list[int]:
        if keys == [1]:
            await until(lambda: batched.queue.pending)
            errors.append(await error_of(batched(9)))
        return keys

    errors: list[BaseException | None] = []
    async with batched_of(load, NaturalPolicy(1), max_queue_size=1) as batched:
        first = called(batched, 1)
        await steps(2)
        assert [1, 2] == await ends(first + called(batched, 2))
    assert errors[0] is not None
    assert type(errors[0]) in {RuntimeError, QueueFull}


async def test_a_loader_may_ask_another() -> None:
    """One Batched may be built on another."""
    lower = Doubling()
    async with batched_of(lower, NaturalPolicy()) as double:

        async def load(keys: list[int]) -> list[int]:
            return list(await asyncio.gather(*map(double, keys)))

        async with batched_of(load, NaturalPolicy()) as outer:
            assert [2, 4] == await ends(called(outer, 1, 2))
    assert [[1, 2]] == lower.calls


# Arguments.


async def test_weights_are_those_of_the_keys() -> None:
    """Weigh is called with the key; batches keep max_weight; what is too heavy is refused."""
    load = Doubling()
    policy = IntervalPolicy(1.0, max_weight=5)
    async with batched_of(load, policy, weigh=lambda key: key) as double:
        callers = called(double, 2, 3, 4, 6)
        got = await ends(callers)
    assert [4, 6, 8] == got[:3]
    assert ItemTooLarge is type(got[3])
    assert "the item weighs 6, more than max_weight=5: 6" == str(got[3])
    assert [[2, 3], [4]] == load.calls


async def _weigh(key: int) -> float:
    return 1.0


BAD_ARGUMENTS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "loader": ({"loader": 7}, TypeError, r"^loader must be callable, not 7$"),
    "weigh": ({"weigh": 7}, TypeError, r"^weigh must be callable, not 7$"),
    "async weigh": ({"weigh": _weigh}, TypeError, r"^weigh must not be async: <function _weigh"),
    "max_queue_size": ({"max_queue_size": 0}, ValueError, r"^max_queue_size must be at least 1"),
    "max_in_flight": ({"max_in_flight": 0}, ValueError, r"^max_in_flight must be at least 1"),
    "limit": ({"max_shutdown_wait": -1}, ValueError, r"^max_shutdown_wait must be at least 0"),
    "on_report": ({"on_report": 7}, TypeError, r"^on_report must be callable, not 7$"),
    "name": ({"name": 7}, TypeError, r"^name must be a str, not 7$"),
    "policy": ({"policy": 7}, TypeError, r"7"),
}


@pytest.mark.parametrize(("bad", "kind", "message"), BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS)
def test_bad_arguments_fail_at_once(
    bad: dict[str, Any], kind: type[Exception], message: str
) -> None:
    """A bad argument is an error of the call that passes it, with the value in the message."""
    arguments: dict[str, Any] = {"loader": Doubling(), "policy": NaturalPolicy(), **bad}
    loader, policy = arguments.pop("loader"), arguments.pop("policy")
    with pytest.raises(kind, match=message):
        batched_of(loader, policy, **arguments)


async def test_a_max_weight_needs_weigh() -> None:
    """As of a FlushQueue."""
    with pytest.raises(TypeError, match="needs weigh"):
        batched_of(Doubling(), IntervalPolicy(1.0, max_weight=5))


async def test_the_options_are_those_of_the_queue() -> None:
    """on_report, max_in_flight and name do what they do for a FlushQueue."""
    reports: list[FlushReport] = []
    load = Doubling(held=asyncio.Event())
    batched = batched_of(
        load, NaturalPolicy(1), max_in_flight=2, on_report=reports.append, name="users"
    )
    async with batched:
        callers = called(batched, 1, 2, 3)
        await settle()
        assert [[1], [2]] == load.calls
        assert load.held is not None
        load.held.set()
        await ends(callers)
    assert [1, 1, 1] == [report.delivered for report in reports]
    assert f"<Batched {load!r} on <FlushQueue 'users' closed, 0 pending, 0 in flight>>" == repr(
        batched
    )


def test_the_defaults_are_those_of_the_queue() -> None:
    """What is not passed is as it is for a FlushQueue."""
    of_queue = inspect.signature(FlushQueue).parameters
    of_batched = inspect.signature(Batched).parameters
    assert of_batched.keys() - of_queue.keys() == {"loader", "share"}
    for name in of_batched.keys() & of_queue.keys():
        assert of_queue[name].default == of_batched[name].default


async def test_the_policy_is_copied() -> None:
    """One policy may serve several; the running one is on the queue."""
    policy: FlushPolicy = NaturalPolicy()
    async with batched_of(Doubling(), policy) as one, batched_of(Doubling(), policy) as other:
        assert [2, 4] == [await one(1), await other(2)]
        assert one.queue.policy is not policy
        assert one.queue.policy is not other.queue.policy


@pytest.mark.parametrize("limit", [None, 0])
async def test_an_exception_of_the_body_goes_on(limit: float | None) -> None:
    """What the body raises leaves the `async with` after the drain, whatever was lost."""
    load = Doubling()
    with pytest.raises(ZeroDivisionError) as caught:
        async with batched_of(load, patient(), max_shutdown_wait=limit) as double:
            callers = called(double, 1)
            await settle()
            raise ZeroDivisionError
    (got,) = await ends(callers)
    assert 2 == got if limit is None else ShutdownTimeout is type(got)
    assert (limit is None) == (not hasattr(caught.value, "__notes__"))


async def test_the_lists_of_what_was_lost_hold_keys() -> None:
    """So do those of the exception."""
    batched = batched_of(Doubling(), patient(), max_shutdown_wait=0)
    await batched.__aenter__()
    callers = called(batched, "a", "b")
    await settle()
    with pytest.raises(ShutdownTimeout) as caught:
        await batched.__aexit__(None, None, None)
    await ends(callers)
    assert ["a", "b"] == caught.value.undelivered == batched.queue.undelivered


def test_another_loop_may_not_ask() -> None:
    """A call on another loop is a RuntimeError."""
    batched = batched_of(Doubling(), NaturalPolicy())
    with own_loop() as loop, own_loop() as other:
        loop.run_until_complete(value_of(batched.__aenter__()))
        assert 2 == loop.run_until_complete(value_of(batched(1)))
        with pytest.raises(RuntimeError, match="belongs to another event loop"):
            other.run_until_complete(value_of(batched(1)))
        loop.run_until_complete(value_of(batched.__aexit__(None, None, None)))


async def test_a_loader_that_raises_is_seen_by_those_who_watch_the_queue() -> None:
    """Its requests count as dropped, and the report tells why."""
    reports: list[FlushReport] = []
    refusal = ConnectionError("the database is down")

    async def load(keys: list[int]) -> list[int]:
        raise refusal

    async with Batched(load, NaturalPolicy(), on_report=reports.append) as load_one:
        await asyncio.gather(load_one(1), load_one(2), return_exceptions=True)
        stats = load_one.queue.stats()
    assert (2, 0) == (stats.dropped, stats.delivered)
    assert [(2, refusal)] == [(report.dropped, report.error) for report in reports]


# Verdicts on a loader that raises.


class Poisoned(Doubling):
    """A loader that raises as long as a key below 0 is asked for."""

    async def __call__(self, keys: list[int]) -> Any:
        """Return the results, in order."""
        doubled = await super().__call__(keys)
        if min(keys) < 0:
            raise ValueError(min(keys))
        return doubled


async def test_a_split_answers_all_but_the_poisoned_caller() -> None:
    """Of 64 callers, 63 have their answers, and one the exception that its key has caused."""
    load = Poisoned()

    def judge(failure: Failure[int]) -> Verdict:
        return Split() if len(failure.items) > 1 else Drop()

    async with batched_of(load, patient(64), on_failure=judge) as double:
        got = await ends(called(double, *range(63), -1))
        stats = double.queue.stats()
    assert [2 * key for key in range(63)] == got[:63]
    assert (ItemFailed, -1, ValueError) == (
        type(got[63]),
        got[63].item,
        type(got[63].__cause__),
    )
    assert (63, 1) == (stats.delivered, stats.dropped)
    assert 14 >= len(load.calls)


async def test_the_handler_is_asked_about_keys() -> None:
    """It sees the keys that were asked for, may be async, and a retry may succeed."""
    asked: list[Failure[int]] = []

    async def judge(failure: Failure[int]) -> Verdict:
        asked.append(failure)
        return Retry(1.0)

    load = Doubling(answers=[OSError("reset")])
    async with batched_of(load, patient(2), on_failure=judge) as double:
        assert [2, 4] == await ends(called(double, 1, 2))
        assert 1.0 == now()
    assert [([1, 2], 1)] == [(failure.items, failure.attempt) for failure in asked]


async def test_a_failure_may_end_the_queue_of_the_callers() -> None:
    """After Fail the callers of this call have its exception, and all others FlushFailed."""
    load = Doubling(answers=[OSError("down")])
    double = batched_of(load, patient(2), on_failure=lambda _: Fail())
    with pytest.raises(FlushFailed):
        async with double:
            got = await ends(called(double, 1, 2, 3))
            assert [ItemFailed, ItemFailed, FlushFailed] == list(map(type, got))
            assert "failed" == double.queue.state


@pytest.mark.parametrize("bad", [7, "judge"])
def test_a_handler_must_be_callable(bad: Any) -> None:
    """Anything else is a TypeError at construction that shows it."""
    with pytest.raises(TypeError, match=r"^on_failure must be callable, not "):
        batched_of(Doubling(), patient(), on_failure=bad)


# Callers who do not share.


async def test_callers_who_do_not_share_get_a_result_each() -> None:
    """With share=False the loader gets a key once for each caller, hashable or not."""

    async def load(keys: list[list[int]]) -> list[tuple[int, ...]]:
        calls.append(list(keys))
        return [(index, *key) for index, key in enumerate(keys)]

    calls: list[list[list[int]]] = []
    async with batched_of(load, patient(3), share=False) as sample:
        assert [(0, 7), (1, 7), (2, 8)] == await ends(called(sample, [7], [7], [8]))
        assert 0 == sample.queue.stats().duplicates
    assert [[[7], [7], [8]]] == calls
