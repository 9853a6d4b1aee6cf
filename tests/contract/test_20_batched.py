"""Point 20: Batched gives each caller the result of its own key, or an exception.

test_19_receipts.py tests that every caller is told of the end of the queue.
"""

import asyncio
import gc
import inspect
import traceback
import weakref
from collections import UserList, defaultdict
from collections.abc import Awaitable
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
    FlushQueue,
    FlushReport,
    IntervalPolicy,
    ItemFailed,
    ItemTooLarge,
    NaturalPolicy,
    PartialFailure,
    QueueClosed,
    Retry,
    ShutdownTimeout,
    Split,
    Verdict,
)
from tests.contract.hostile import error_of
from tests.contract.support import now, patient, settle, steps
from tests.strategies import Refusal


@attrs.define(eq=False)
class Doubling:
    """A loader that returns twice each key, after some steps of the loop and some seconds.

    Attributes:
        answers: What the first calls return (or raise) instead, one after the other.
        calls: The keys of each call.
    """

    pause: int = 0
    seconds: float = 0.0
    answers: list[Any] = attrs.field(factory=list)
    calls: list[list[int]] = attrs.field(factory=list, init=False)

    async def __call__(self, keys: list[int]) -> Any:
        """Return the results, in order."""
        self.calls.append(list(keys))
        await steps(self.pause)
        if self.seconds:
            await asyncio.sleep(self.seconds)
        answer = self.answers.pop(0) if self.answers else [2 * key for key in keys]
        if isinstance(answer, BaseException):
            raise answer
        return answer


def batched_of(load: Any, policy: Any, **options: Any) -> Batched[Any, Any]:
    """Make a Batched with any types of keys and results."""
    return Batched(load, policy, **options)


def called(batched: Batched[Any, Any], *keys: Any) -> list[asyncio.Task[Any]]:
    """Start one caller for each key."""
    return [asyncio.create_task(value_of(batched(key))) for key in keys]


async def value_of(awaitable: Awaitable[Any]) -> Any:
    """Await an awaitable in a coroutine, and return its result."""
    return await awaitable


async def ends(callers: list[asyncio.Task[Any]]) -> list[Any]:
    """Return the result or the exception of each caller, in order."""
    return await asyncio.gather(*callers, return_exceptions=True)


async def answers(load: Any, *keys: Any) -> list[Any]:
    """Ask for keys together, and return the result or the exception of each caller."""
    async with batched_of(load, patient()) as batched:
        callers = called(batched, *keys)
        await settle()
        await batched.queue.flush()
        return await ends(callers)


def kinds(results: list[Any]) -> list[type[Any]]:
    """Return the type of each result."""
    return [type(result) for result in results]


# Results.


async def test_each_caller_gets_the_result_of_its_key() -> None:
    """Callers that ask together share one call, within the caps, and get their own results."""
    load = Doubling()
    async with batched_of(load, NaturalPolicy(3)) as double:
        assert [0, 2, 4, 6] == await asyncio.gather(*map(double, range(4)))
        assert 20 == await double(10)
    assert [[0, 1, 2], [3], [10]] == load.calls


RESULTS: dict[str, Any] = {
    "list": ["a", "b"],
    "UserList": UserList(["a", "b"]),
    "values": {5: "a", 4: "b"}.values(),
    "dict": {2: "b", 1: "a", 3: "c"},
    "proxy": MappingProxyType({1: "a", 2: "b"}),
    "defaultdict": defaultdict(lambda: "b", {1: "a"}),
}


@pytest.mark.parametrize("results", RESULTS.values(), ids=RESULTS)
async def test_sequences_and_mappings_are_results(results: Any) -> None:
    """Results of a sequence-like object are used in order, those of a mapping by key."""
    assert ["a", "b"] == await answers(Doubling(answers=[results]), 1, 2)


@pytest.mark.parametrize("result", [None, 0, "", (), KeyError, [OSError("in a list")]])
async def test_any_object_is_a_result(result: object) -> None:
    """A result may be None, false, an exception class or a list of exceptions."""
    assert [result] == await answers(Doubling(answers=[[result]]), 1)
    assert [result] == await answers(Doubling(answers=[{1: result}]), 1)


async def test_a_missing_key_is_a_key_error_for_its_callers_alone() -> None:
    """For a key that is not in the mapping each caller gets a new KeyError with the key."""
    first, *missing = await answers(Doubling(answers=[{1: "a"}]), 1, 2, 2)
    assert "a" == first
    assert [KeyError, KeyError] == kinds(missing)
    assert [(2,), (2,)] == [error.args for error in missing]
    assert missing[0] is not missing[1]


@pytest.mark.parametrize("error", [ValueError("bad key"), KeyError(3), asyncio.CancelledError()])
async def test_an_exception_among_the_results_is_raised_as_it_is(error: BaseException) -> None:
    """An exception instance as a result is raised in the callers of this key alone."""
    for results in ["a", error], {1: "a", 2: error}:
        async with batched_of(Doubling(answers=[results]), patient(2)) as batched:
            callers = [asyncio.create_task(error_of(batched(key))) for key in (1, 2, 2)]
            await settle()
            await batched.queue.flush()
            assert [None, error, error] == await asyncio.gather(*callers)


async def test_the_traceback_of_an_answer_does_not_grow() -> None:
    """All callers get the exception with tracebacks of the same length."""
    error = LookupError("not found")

    async def depth(key: int) -> int:
        caught = await error_of(double(key))
        assert caught is error
        return len(list(traceback.walk_tb(caught.__traceback__)))

    async with batched_of(Doubling(answers=[[error]]), patient(1)) as double:
        depths = await asyncio.gather(*map(depth, [1] * 50))
    assert 1 == len(set(depths))


# Wrong results.


def not_a_result(shown: str) -> tuple[type[Exception], str]:
    """Return the class and the message for a loader that returns this."""
    return TypeError, f"the loader must return a sequence or a mapping, not {shown}"


BAD: dict[str, tuple[Any, tuple[type[Exception], str]]] = {
    "short": (["a"], (ValueError, "the loader must return 2 results, one for each key, not 1")),
    "long": (
        ["a", "b", "c"],
        (ValueError, "the loader must return 2 results, one for each key, not 3"),
    ),
    "None": (None, not_a_result("None")),
    "str": ("ab", not_a_result("'ab'")),
    "bytes": (b"ab", not_a_result("b'ab'")),
    "set": ({1, 2}, not_a_result("{1, 2}")),
    "keys": ({1: "a", 2: "b"}.keys(), not_a_result("dict_keys")),
    "generator": ((key for key in "ab"), not_a_result("<generator")),
    "broken": (defaultdict(lambda: 1 // 0), (ZeroDivisionError, "integer division")),
}


@pytest.mark.parametrize(("results", "expected"), BAD.values(), ids=BAD)
async def test_what_is_not_a_result_fails_its_callers(
    results: Any, expected: tuple[type[Exception], str]
) -> None:
    """After a wrong result all callers of that call get ItemFailed, whose cause shows it."""
    load = Doubling(answers=[results])
    async with batched_of(load, patient(2)) as double:
        got = await ends(called(double, 1, 2))
        assert [8, 10] == await ends(called(double, 4, 5))
    assert [ItemFailed, ItemFailed] == kinds(got)
    assert [1, 2] == [error.item for error in got]
    assert str(got[0]).startswith(f"1 failed: {expected[0].__name__}(")
    for error in got:
        assert expected[0] is type(error.__cause__)
        assert str(error.__cause__).startswith(expected[1])


async def test_a_loader_must_be_async() -> None:
    """A loader that is not async fails its callers with a TypeError that shows the result."""
    (error,) = await answers(lambda keys: keys, 1)
    assert ItemFailed is type(error)
    assert TypeError is type(error.__cause__)
    assert "the loader must be async: it returned [1]" == str(error.__cause__)


# A loader that raises.


@pytest.mark.parametrize(
    ("error", "reported"),
    [
        (OSError("down"), OSError),
        (asyncio.CancelledError("inner"), asyncio.CancelledError),
        (PartialFailure({1: OSError()}), TypeError),
    ],
)
async def test_a_loader_that_raises_fails_its_callers(
    error: BaseException, reported: type[BaseException]
) -> None:
    """If the loader raises, each caller gets its own ItemFailed, and the next call is made."""
    reports: list[FlushReport] = []
    load = Doubling(answers=[error])
    async with batched_of(load, patient(2), on_report=reports.append) as double:
        got = await ends(called(double, 1, 2, 2, 3, 4))
    assert [ItemFailed] * 3 == kinds(got[:3])
    assert 3 == len(set(map(id, got[:3])))
    assert [1, 2, 2] == [one.item for one in got[:3]]
    assert all(one.__cause__ is error for one in got[:3])
    assert ([6, 8], [[1, 2], [3, 4]]) == (got[3:], load.calls)
    assert [(2, 0), (0, 2)] == [(report.dropped, report.delivered) for report in reports]
    assert [reported, type(None)] == [type(report.error) for report in reports]


async def test_nothing_keeps_the_error_of_a_loader_once_it_was_told() -> None:
    """When the callers drop the error of a loader, it is freed without the garbage collector."""

    async def load(keys: list[int]) -> Any:
        raise Refusal

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


# Callers that share a key.


async def test_keys_that_wait_together_are_loaded_once() -> None:
    """Callers with equal keys share one request while it waits, and each gets the result."""
    load = Doubling()
    assert [2, 4, 2, 2, 4] == await answers(load, 1, 2, 1.0, 1, 2)
    assert [[1, 2]] == load.calls


async def test_a_key_in_flight_is_loaded_again() -> None:
    """A caller that asks for a key in flight gets the result of a later call."""
    load = Doubling(seconds=1.0)
    async with batched_of(load, NaturalPolicy()) as double:
        first = called(double, 1)
        await settle()
        assert [2, 2] == await ends(first + called(double, 1))
    assert [[1], [1]] == load.calls


async def test_a_key_that_cannot_be_hashed_is_refused() -> None:
    """A key that cannot be hashed is a TypeError for its caller alone."""
    load = Doubling()
    async with batched_of(load, NaturalPolicy()) as double:
        with pytest.raises(TypeError, match=r"must be hashable, not \[1\]"):
            await double([1])
        assert 4 == await double(2)
    assert [[2]] == load.calls


async def test_callers_who_do_not_share_get_a_result_each() -> None:
    """With share=False the loader gets a key once for each caller; it need not be hashable."""

    async def load(keys: list[list[int]]) -> list[tuple[int, ...]]:
        return [(index, *key) for index, key in enumerate(keys)]

    async with batched_of(load, patient(3), share=False) as sample:
        assert [(0, 7), (1, 7), (2, 8)] == await ends(called(sample, [7], [7], [8]))
        assert 0 == sample.queue.stats().duplicates


# Callers that are cancelled.


@pytest.mark.parametrize("seconds", [None, 1e9])
async def test_who_is_cancelled_before_the_call_is_left_out(seconds: float | None) -> None:
    """If the only caller of a key is cancelled before the call, the key is left out of the call."""
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


async def test_a_request_that_was_given_up_is_left_out() -> None:
    """A key is loaded only if one of its callers is not cancelled."""
    load = Doubling()
    async with batched_of(load, patient()) as double:
        gone = called(double, 1, 2, 3)
        stays = called(double, 2)
        gone += called(double, 2)
        await settle()
        for caller in gone:
            caller.cancel()
        await settle()
        late = called(double, 4, 3)
        await settle()
        await double.queue.flush()
        assert [4, 8, 6] == await ends(stays + late)
        assert [asyncio.CancelledError] * 4 == kinds(await ends(gone))
    assert [[2, 3, 4]] == load.calls


async def test_if_nobody_is_left_the_loader_is_not_called() -> None:
    """A batch without callers makes no call, and a later batch does."""
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


# The end.


async def test_a_limit_leaves_nobody_waiting() -> None:
    """At the limit the callers of the running call, of waiting keys and in line all get errors."""
    load = Doubling(seconds=5.0)
    batched = batched_of(load, NaturalPolicy(1), max_shutdown_wait=1.0, max_queue_size=1)
    with pytest.raises(ShutdownTimeout):
        async with batched:
            callers = called(batched, 1)
            await settle()
            callers += called(batched, 2, 2, 3)
            await settle()
    got = await ends(callers)
    assert [ShutdownTimeout] * 3 + [QueueClosed] == kinds(got)
    assert 4 == len(set(map(id, got)))
    assert [[1]] == load.calls


async def test_an_exception_of_the_body_goes_on() -> None:
    """An exception of the block is raised by `async with`, with a note about the loss."""
    with pytest.raises(ZeroDivisionError) as caught:
        async with batched_of(Doubling(), patient(), max_shutdown_wait=0) as double:
            callers = called(double, 1)
            await settle()
            raise ZeroDivisionError
    assert [ShutdownTimeout] == kinds(await ends(callers))
    assert "ShutdownTimeout" in caught.value.__notes__[0]


async def test_the_lists_of_what_was_lost_hold_keys() -> None:
    """The lists of the queue and of its exception have keys."""
    batched = batched_of(Doubling(), patient(), max_shutdown_wait=0)
    with pytest.raises(ShutdownTimeout) as caught:
        async with batched:
            callers = called(batched, "a", 2)
            await settle()
    await ends(callers)
    assert ["a", 2] == caught.value.undelivered == batched.queue.undelivered


# A loader that calls its own Batched.


@pytest.mark.parametrize("key", [1, 2, 3])
async def test_a_loader_may_not_ask_itself(key: int) -> None:
    """A loader that calls its own Batched gets RuntimeError for any key, and nothing hangs."""
    errors: list[BaseException | None] = []
    calls: list[list[int]] = []

    async def load(keys: list[int]) -> list[int]:
        calls.append(keys)
        if keys == [1]:
            errors.append(await error_of(batched(key)))
        return keys

    async with batched_of(load, NaturalPolicy(1)) as batched:
        assert [1, 2] == await ends(called(batched, 1, 2))
    assert [RuntimeError] == kinds(errors)
    assert [[1], [2]] == calls


# Verdicts on a loader that raises.


class Poisoned(Doubling):
    """A loader that raises if a key is below 0."""

    async def __call__(self, keys: list[int]) -> Any:
        """Return the results, in order."""
        doubled = await super().__call__(keys)
        if min(keys) < 0:
            raise ValueError(min(keys))
        return doubled


async def test_a_split_answers_all_but_the_poisoned_caller() -> None:
    """Of 64 callers 63 get their results, and one gets the exception that its key caused."""
    load = Poisoned()

    def judge(failure: Failure[int]) -> Verdict:
        return Split() if len(failure.items) > 1 else Drop()

    async with batched_of(load, patient(64), on_failure=judge) as double:
        *got, error = await ends(called(double, *range(63), -1))
        stats = double.queue.stats()
    assert [2 * key for key in range(63)] == got
    assert (ItemFailed, -1, ValueError) == (type(error), error.item, type(error.__cause__))
    assert (63, 1) == (stats.delivered, stats.dropped)
    assert 14 >= len(load.calls)


async def test_the_handler_is_asked_about_keys() -> None:
    """The handler gets the keys, may be async, and may retry with success."""
    asked: list[Failure[int]] = []

    async def judge(failure: Failure[int]) -> Verdict:
        asked.append(failure)
        return Retry(1.0)

    load = Doubling(answers=[OSError("reset")])
    async with batched_of(load, patient(2), on_failure=judge) as double:
        assert [2, 4] == await ends(called(double, 1, 2))
        assert 1.0 == now()
    assert [([1, 2], 1)] == [(failure.items, failure.attempt) for failure in asked]


async def test_the_handler_is_not_asked_about_keys_that_nobody_waits_for() -> None:
    """The handler is not told of keys without callers, since they were not loaded."""
    asked: list[list[int]] = []
    load = Doubling(answers=[OSError("reset")])

    def judge(failure: Failure[int]) -> Verdict:
        asked.append(failure.items)
        return Drop()

    async with batched_of(load, patient(), on_failure=judge) as double:
        callers = called(double, 1, 2, 3)
        await settle()
        callers[0].cancel()
    await ends(callers)
    assert [[2, 3]] == load.calls == asked


async def test_a_second_call_answers_anew() -> None:
    """A retry does not use results of the call that failed."""
    load = Doubling(answers=[defaultdict(lambda: 1 // 0, {1: "stale"}), {}])
    async with batched_of(load, patient(2), on_failure=lambda _: Retry()) as double:
        assert [KeyError, KeyError] == kinds(await ends(called(double, 1, 2)))


async def test_a_failure_may_end_the_queue_of_the_callers() -> None:
    """After Fail the callers of this call get its exception, and all others FlushFailed."""
    load = Doubling(answers=[OSError("down")])
    double = batched_of(load, patient(2), on_failure=lambda _: Fail())
    with pytest.raises(FlushFailed):
        async with double:
            got = await ends(called(double, 1, 2, 3))
            assert [ItemFailed, ItemFailed, FlushFailed] == kinds(got)
            assert "failed" == double.queue.state


# Arguments.


async def test_weights_are_those_of_the_keys() -> None:
    """``weigh`` is called with the key; batches keep max_weight, and a heavier key is refused."""
    load = Doubling()
    policy = IntervalPolicy(1.0, max_weight=5)
    async with batched_of(load, policy, weigh=lambda key: key) as double:
        *got, refusal = await ends(called(double, 2, 3, 4, 6))
    assert [4, 6, 8] == got
    assert ItemTooLarge is type(refusal)
    assert "the item weighs 6, more than max_weight=5: 6" == str(refusal)
    assert [[2, 3], [4]] == load.calls


async def _weigh(key: int) -> float:
    return 1.0


BAD_ARGUMENTS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "loader": ({"loader": 7}, TypeError, r"^loader must be callable, not 7$"),
    "policy": ({"policy": 7}, TypeError, r"7"),
    "weigh": ({"weigh": 7}, TypeError, r"^weigh must be callable, not 7$"),
    "async weigh": ({"weigh": _weigh}, TypeError, r"^weigh must not be async: <function _weigh"),
    "no weigh": ({"policy": IntervalPolicy(1.0, max_weight=5)}, TypeError, "needs weigh"),
    "on_failure": ({"on_failure": 7}, TypeError, r"^on_failure must be callable, not 7$"),
    "a class": ({"on_failure": Drop}, TypeError, r"returns a verdict, not the class Drop$"),
    "on_report": ({"on_report": 7}, TypeError, r"^on_report must be callable, not 7$"),
    "max_queue_size": ({"max_queue_size": 0}, ValueError, r"^max_queue_size must be at least 1"),
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


async def test_the_options_are_those_of_the_queue() -> None:
    """max_in_flight and name have the same effect as for a FlushQueue."""
    load = Doubling(seconds=1.0)
    batched = batched_of(load, NaturalPolicy(1), max_in_flight=2, name="users")
    async with batched:
        callers = called(batched, 1, 2, 3)
        await settle()
        assert [[1], [2]] == load.calls
        await ends(callers)
    shown = f"<Batched {load!r} on <FlushQueue 'users' closed, 0 pending, 0 in flight>>"
    assert shown == repr(batched)


def test_the_defaults_are_those_of_the_queue() -> None:
    """The defaults of arguments are the same as for a FlushQueue."""
    of_queue = inspect.signature(FlushQueue).parameters
    of_batched = inspect.signature(Batched).parameters
    assert of_batched.keys() - of_queue.keys() == {"loader", "share"}
    for name in of_batched.keys() & of_queue.keys():
        assert of_queue[name].default == of_batched[name].default
