"""The two FailureHandler classes: their verdicts, and the dead letters that they write.

Each test runs with the handler for asyncio and with that for threads, unless it says otherwise.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest

import flushq
import flushq.threads
from flushq import (
    Drop,
    Fail,
    Failure,
    FlushQueue,
    NaturalPolicy,
    PartialFailure,
    Retry,
    ShutdownTimeout,
    Split,
    Verdict,
)
from tests.threads.worlds import drive

BAD, AWAY, WRONG = ValueError("too long"), ConnectionError("reset"), KeyError("no table")

Letters = list[tuple[Any, BaseException]]
Ask = Callable[..., Verdict]


def failed(*errors: Exception, count: int = 0, attempt: int = 1) -> Failure[int]:
    """Return a failure of ``count`` items together, or else of one item for each error."""
    if count:
        return Failure([*range(count)], errors[0], None, attempt, "full", 0.0)
    partial = PartialFailure(dict(enumerate(errors)))
    return Failure([*range(len(errors))], partial, [*errors], attempt, "full", 0.0)


def ask_aio(failure: Failure[int], **arguments: Any) -> Verdict:
    """Ask the handler for asyncio."""
    verdict: Verdict = drive(flushq.FailureHandler[int](**arguments)(failure))
    return verdict


def ask_threads(failure: Failure[int], **arguments: Any) -> Verdict:
    """Ask the handler for threads."""
    return flushq.threads.FailureHandler[int](**arguments)(failure)


@pytest.fixture(params=[ask_aio, ask_threads], ids=["aio", "threads"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """A function that asks the handler, once for asyncio and once for threads."""
    function: Ask = request.param
    return function


@pytest.mark.parametrize(
    ("failure", "verdict", "buried"),
    [
        (failed(AWAY, count=2), Retry(0.1), []),
        (failed(AWAY, count=2, attempt=2), Retry(0.2), []),
        (failed(AWAY, count=2, attempt=3), Fail(), []),
        (failed(BAD, count=2, attempt=9), Split(), []),
        (failed(BAD, count=1), Drop(), [(0, BAD)]),
        (failed(WRONG, count=1), Fail(), []),
        (failed(BAD, AWAY), Retry(0.1), []),
        (failed(WRONG, AWAY), Retry(0.1), []),
        (failed(BAD, AWAY, attempt=3), Fail(), []),
        (failed(BAD, WRONG), Fail(), []),
        (failed(BAD, error := ValueError("too short")), Drop(), [(0, BAD), (1, error)]),
    ],
)
def test_what_is_done_about_a_failure(
    failure: Failure[int], verdict: Verdict, buried: Letters, ask: Ask
) -> None:
    """The handler retries a temporary error, finds and buries a bad item, and else fails."""
    letters: Letters = []
    arguments = {"retry": OSError, "split": ValueError, "attempts": 3}
    answer = ask(failure, bury=lambda *letter: letters.append(letter), **arguments)
    assert (verdict, buried) == (answer, letters)


@pytest.mark.parametrize("attempt", [1, 1000])
def test_without_a_limit_it_tries_for_ever(attempt: int, ask: Ask) -> None:
    """Without a limit of attempts the handler answers Retry for every attempt."""
    assert Retry.backoff(attempt) == ask(failed(AWAY, count=1, attempt=attempt), retry=OSError)


@pytest.mark.parametrize(
    "names",
    [ValueError, (asyncio.CancelledError, ValueError), lambda error: error is BAD],
    ids=["class", "tuple", "function"],
)
def test_exceptions_are_named_in_three_ways(names: Any, ask: Ask) -> None:
    """Exceptions are named by a class, by several classes, or by a function of the exception."""
    assert (Retry(0.1), Fail()) == (ask(failed(BAD), retry=names), ask(failed(AWAY), retry=names))
    assert (Split(), Fail()) == (
        ask(failed(BAD, count=2), split=names),
        ask(failed(AWAY, count=2), split=names),
    )


def test_what_both_name_is_tried_again_first(ask: Ask) -> None:
    """An error that both ``retry`` and ``split`` name is retried first, and then split."""
    arguments = {"retry": BAD.__class__, "split": ValueError, "attempts": 2}
    answers = [ask(failed(BAD, count=2, attempt=attempt), **arguments) for attempt in (1, 2)]
    assert [Retry(0.1), Split()] == answers


def test_without_a_grave_a_bad_item_is_the_end(ask: Ask) -> None:
    """Without ``bury`` no item is dropped, neither a single one nor one of a PartialFailure."""
    failures = failed(BAD, count=1), failed(BAD, BAD)
    assert [Fail(), Fail()] == [ask(failure, split=ValueError) for failure in failures]


def test_the_pause_may_be_another(ask: Ask) -> None:
    """The handler answers with the Retry that ``backoff`` returns for the failure."""

    def backoff(failure: Failure[int]) -> Retry:
        return Retry(float(str(failure.error)), hold=True)

    failure = failed(OSError("17"), count=1)
    assert Retry(17.0, hold=True) == ask(failure, retry=OSError, backoff=backoff)


def test_a_letter_that_cannot_be_written_keeps_its_item(
    ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    """If a dead letter cannot be written, its item is retried at any attempt; the log says why."""
    trouble, letters = OSError("the disk is full"), []

    def bury(item: int, error: BaseException) -> None:
        letters.append(item)
        if item == 1:
            raise trouble

    failure = failed(BAD, BAD, BAD, attempt=3)
    assert Retry(0.4) == ask(failure, split=ValueError, attempts=1, bury=bury)
    assert [0, 1] == letters
    (record,) = caplog.records
    assert ("flushq", "ERROR") == (record.name, record.levelname)
    assert "no dead letter could be written, the item is kept: 1" == record.getMessage()
    assert record.exc_info is not None
    assert trouble is record.exc_info[1]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"retry": 5}, TypeError, "retry must be an exception class, .* not 5"),
        ({"retry": (OSError, 5)}, TypeError, r"retry must be .* not \(<class 'OSError'>, 5\)"),
        ({"split": int}, TypeError, "split must be an exception class, .* not <class 'int'>"),
        ({"split": asyncio.sleep}, TypeError, "split must not be async: <function sleep"),
        ({"attempts": 0}, ValueError, "attempts must be at least 1, not 0"),
        ({"attempts": 1.5}, TypeError, "attempts must be an int, not 1.5"),
        ({"split": OSError, "bury": 5}, TypeError, "bury must be callable, not 5"),
        ({"bury": print}, TypeError, "if bury is given, split must name"),
        ({"backoff": 0.1}, TypeError, "backoff must be callable, not 0.1"),
        ({"backoff": asyncio.sleep}, TypeError, "backoff must not be async: <function sleep"),
    ],
)
def test_arguments_that_make_no_sense(
    arguments: Any, error: type[Exception], message: str, ask: Ask
) -> None:
    """Bad arguments are refused when the handler is made, and the message shows them."""
    with pytest.raises(error, match=f"^{message}"):
        ask(failed(BAD), **arguments)


@pytest.mark.parametrize("name", ["retry", "split"])
def test_a_function_that_turns_out_to_be_async(name: str, ask: Ask) -> None:
    """An awaitable answer of ``retry`` or ``split`` does not count as True: it is a TypeError."""
    waiter = asyncio.sleep(0)
    with pytest.raises(TypeError, match=f"^{name} must not be async: it returned <coroutine"):
        ask(failed(BAD, count=2), **{name: lambda error: waiter})
    waiter.close()


# Only for asyncio, and only for threads.


async def test_letters_may_be_written_by_a_coroutine() -> None:
    """A bad item is found, buried as soon as that is possible, and all others are stored."""
    stored: list[int] = []
    letters: Letters = []
    troubles = [OSError(), asyncio.CancelledError("of the pool, and not of this flush")]

    async def store(batch: list[int]) -> None:
        if 13 in batch:
            raise BAD
        stored.extend(batch)

    async def bury(item: int, error: BaseException) -> None:
        await asyncio.sleep(1.0)
        if troubles:
            raise troubles.pop()
        letters.append((item, error))

    handler = flushq.FailureHandler(split=ValueError, bury=bury)
    async with FlushQueue(store, NaturalPolicy(), on_failure=handler) as queue:
        for number in range(20):
            await queue.enqueue(number)
    assert [number for number in range(20) if number != 13] == stored
    assert ([(13, BAD)], 1) == (letters, queue.stats().dropped)
    assert 3.0 + 0.1 + 0.2 == pytest.approx(asyncio.get_running_loop().time())


@pytest.mark.parametrize("trouble", [None, OSError("the disk is full")])
async def test_a_letter_that_is_never_written(trouble: Exception | None) -> None:
    """If its letter hangs or fails until the limit of the close, the item is in doubt."""

    async def store(batch: list[int]) -> None:
        raise BAD

    async def bury(item: int, error: BaseException) -> None:
        if trouble is not None:
            raise trouble
        await asyncio.Event().wait()

    handler = flushq.FailureHandler(split=ValueError, bury=bury)
    queue = FlushQueue(store, NaturalPolicy(), max_shutdown_wait=1.0, on_failure=handler)
    with pytest.raises(ShutdownTimeout):
        async with queue:
            await queue.enqueue(1)
    assert ([1], 0) == (queue.in_doubt, queue.stats().dropped)


async def bury_later(item: int, error: BaseException) -> None:
    """Write no letter: this is never awaited."""


def test_threads_await_no_letter(caplog: pytest.LogCaptureFixture) -> None:
    """An async ``bury`` is refused; if it only returns an awaitable, the item is kept."""
    with pytest.raises(TypeError, match=r"bury must not be async: .* use flushq\."):
        flushq.threads.FailureHandler(split=ValueError, bury=bury_later)

    assert Retry(0.1) == ask_threads(
        failed(BAD), split=ValueError, bury=lambda item, error: bury_later(item, error=error)
    )
    assert re.search("bury must not be async: it returned <coroutine", caplog.text)
