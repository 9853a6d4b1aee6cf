"""The recipe for an HTTP bulk API, with many answers of such an API."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from itertools import cycle
from pathlib import Path

import bulk_api
import http_failures
import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from flushq import (
    Fail,
    Failure,
    FlushFailed,
    FlushQueue,
    NaturalPolicy,
    Retry,
    ShutdownTimeout,
    Split,
    Verdict,
)
from tests.field.conftest import Run, ended

pytestmark = pytest.mark.asyncio(loop_factories=["standard"])

Item = dict[str, str]
Answer = Callable[["Api", list[Item]], Awaitable[web.StreamResponse]]

ITEMS = [{"id": f"{number:03}", "body": f"body {number}"} for number in range(300)]
ALL = {item["id"]: item for item in ITEMS}


class Api:
    """An API that stores items by id.

    Args:
        answers: The answers to the first requests; the items of all others are stored.

    Attributes:
        items: The stored items.
        sizes: The number of items of each request.
    """

    def __init__(self, *answers: Answer) -> None:
        self.items: dict[str, Item] = {}
        self.sizes: list[int] = []
        self.over = asyncio.Event()
        self._answers = list(answers)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        items: list[Item] = await request.json()
        self.sizes.append(len(items))
        answer = self._answers.pop(0) if self._answers else store
        return await answer(self, items)

    def put(self, items: list[Item]) -> None:
        """Store items."""
        self.items.update((item["id"], item) for item in items)


async def store(api: Api, items: list[Item]) -> web.StreamResponse:
    """Store all items."""
    api.put(items)
    return web.Response()


def refuse(status: int, after: str | None = None) -> Answer:
    """Return an answer that stores nothing, and has this status."""

    async def answer(api: Api, items: list[Item]) -> web.StreamResponse:
        return web.Response(status=status, headers={} if after is None else {"Retry-After": after})

    return answer


def refuse_some(status: int, *ids: str) -> Answer:
    """Return an answer that stores all items except these, and has a status for each."""

    async def answer(api: Api, items: list[Item]) -> web.StreamResponse:
        api.put([item for item in items if item["id"] not in ids])
        statuses = [status if item["id"] in ids else 201 for item in items]
        return web.json_response(statuses, status=207)

    return answer


async def store_and_hang(api: Api, items: list[Item]) -> web.StreamResponse:
    """Store all items, and answer after the client has timed out."""
    api.put(items)
    await api.over.wait()
    return web.Response()


@asynccontextmanager
async def serving(api: Api) -> AsyncIterator[str]:
    """Run an API, and yield its URL."""
    app = web.Application()
    app.add_routes([web.post("/", api.serve)])
    async with TestServer(app) as server:
        yield str(server.make_url("/"))
        api.over.set()


async def send(api: Api, patience: float = 5.0) -> FlushQueue[Item]:
    """Send all items as the recipe does, and return the queue."""
    async with serving(api) as url, httpx.AsyncClient(timeout=patience) as client:
        post = partial(bulk_api.send, client, url)
        policy = NaturalPolicy(max_records=100)
        async with FlushQueue(post, policy, on_failure=http_failures.judge) as queue:
            for item in ITEMS:
                await queue.enqueue(item)
    return queue


async def test_the_program(run: Run, tmp_path: Path) -> None:
    """The program sends the lines of a file in batches."""
    (tmp_path / "lines").write_text("".join(f"line {number}\n" for number in range(1, 1201)))
    api = Api()
    async with serving(api) as url:
        end = await ended(run("bulk_api.py", url, "lines"))

    assert ("1200 lines are stored\n", "", 0) == end
    assert 1200 == len(api.items)
    name = f"{tmp_path / 'lines'}:7"
    assert {"id": name, "body": "line 7"} == api.items[name]
    assert len(api.sizes) < 20


async def test_a_line_that_is_refused(run: Run, tmp_path: Path) -> None:
    """A refused line is printed, all others are stored, and the exit code is 1."""
    file = tmp_path / "lines"
    file.write_text("one\ntwo\nthree\n")
    api = Api(refuse_some(422, f"{file}:2"))
    async with serving(api) as url:
        out, err, code = await ended(run("bulk_api.py", url, "lines"))

    assert ("2 lines are stored\n", 1) == (out, code)
    assert f"{file}:2" in err
    assert {f"{file}:1", f"{file}:3"} == set(api.items)
    assert 3 == sum(api.sizes)  # no item was sent again


async def test_a_url_that_cannot_be_read_is_not_used(tmp_path: Path) -> None:
    """A URL that could be misread is refused, before an error shows a part of its password."""
    with pytest.raises(ValueError, match=r"^the URL is not valid: it must begin with"):
        await bulk_api.main("http://user:sec/ret@host/", tmp_path / "lines")


@pytest.mark.parametrize(
    "answer",
    [
        refuse(429, "0"),
        refuse(503, format_datetime(datetime(2020, 1, 1, tzinfo=UTC))),
        refuse(500),
        refuse_some(429, "007", "042"),
    ],
    ids=["429", "503", "500", "207"],
)
async def test_a_temporary_refusal(answer: Answer) -> None:
    """Items that the API refuses for now are sent again, and no others."""
    api = Api(answer)
    queue = await send(api)

    assert ALL == api.items
    assert len(ITEMS) == queue.stats().delivered
    assert sum(api.sizes) in {len(ITEMS) + 2, len(ITEMS) + 100}


async def test_an_answer_that_does_not_come() -> None:
    """Items that were stored without an answer are sent again with the same ids."""
    api = Api(store_and_hang)
    queue = await send(api, patience=1.0)

    assert ALL == api.items
    assert len(ITEMS) == queue.stats().delivered
    assert [100, 100, 100, 100] == api.sizes


@pytest.mark.parametrize(
    ("statuses", "in_doubt"),
    [
        ([201, 199, 201], ITEMS[1:2]),
        ([201, 300, 201], ITEMS[1:2]),
        ([201, True, 201], ITEMS[1:2]),
        ([201, "201", 201], ITEMS[1:2]),
        ([201, None, 201], ITEMS[1:2]),
        ([], ITEMS[:3]),
        ([422], ITEMS[:3]),
        ([201] * 4, ITEMS[:3]),
        ({}, ITEMS[:3]),
        (201, ITEMS[:3]),
    ],
)
async def test_statuses_that_make_no_sense(statuses: object, in_doubt: list[Item]) -> None:
    """An item without a valid status is in doubt, and the queue fails: a retry would not help."""
    answer = httpx.MockTransport(lambda request: httpx.Response(207, json=statuses))
    async with httpx.AsyncClient(transport=answer) as client:
        post, policy = partial(bulk_api.send, client, "http://api"), NaturalPolicy(max_records=3)
        with pytest.raises(FlushFailed) as caught:
            async with FlushQueue(post, policy, on_failure=http_failures.judge) as queue:
                for item in ITEMS[:3]:
                    await queue.enqueue(item)
    assert (in_doubt, []) == (caught.value.in_doubt, caught.value.undelivered)


@pytest.mark.asyncio(loop_factories=["virtual"])
async def test_an_api_that_answers_429_for_ten_minutes() -> None:
    """No call comes before Retry-After is over, and no item is lost.

    No second has more than ten calls, during the ten minutes or after them.
    """
    now, latencies = asyncio.get_running_loop().time, cycle([0.1, 0.2, 0.3, 0.4])
    calls: list[float] = []
    free_at, stored = 0.0, set[str]()

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal free_at
        calls.append(began := now())
        assert began >= free_at
        assert len(calls) < 11 or began >= calls[-11] + 1.0
        await asyncio.sleep(next(latencies))
        if began >= 600.0:
            stored.update(item["id"] for item in json.loads(request.content))
            return httpx.Response(200)
        free_at = now() + 30
        return httpx.Response(429, headers={"Retry-After": "30"})

    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client,
        bulk_api.sending(client, "http://api") as queue,
    ):
        for number in range(20_000):
            await queue.enqueue({"id": f"{number}", "body": ""})
        await queue.flush()
    assert {f"{number}" for number in range(20_000)} == stored
    assert 4 * 20 == sum(began < 600.0 for began in calls)  # every 30.4 seconds (the last: 0.4)


@pytest.mark.asyncio(loop_factories=["virtual"])
async def test_a_close_while_the_api_is_away() -> None:
    """A close takes at most ten seconds, and the items left are listed."""
    now = asyncio.get_running_loop().time
    away = httpx.MockTransport(lambda _: httpx.Response(503, headers={"Retry-After": "3600"}))
    async with asyncio.timeout(60.0), httpx.AsyncClient(transport=away) as client:
        with pytest.raises(ShutdownTimeout) as caught:
            async with bulk_api.sending(client, "http://api") as queue:
                for item in ITEMS:
                    await queue.enqueue(item)
                began = now()
        assert 10.0 == now() - began
    assert (ITEMS, []) == (caught.value.in_doubt, caught.value.undelivered)


async def test_how_long_to_wait() -> None:
    """Both forms of Retry-After are read; an invalid value counts as 0."""
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 7.0 == http_failures.retry_after("7")
    assert 55 < http_failures.retry_after(later) <= 60
    assert http_failures.retry_after("Wed, 21 Oct 2015 07:28:00 GMT") < 0
    nonsense = ["", "soon", "-1", "\u00b2", "Mon, 99 Oct 2015 07:28:00 GMT"]
    assert [0.0] * 5 == list(map(http_failures.retry_after, nonsense))


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (http_failures.Refused(429, after=7.0), Retry(after=7.0, hold=True)),
        (http_failures.Refused(429, after=-7.0), Retry(after=0.2)),
        (http_failures.Refused(429, after=math.inf), Retry(after=3600.0, hold=True)),
        (httpx.ReadTimeout("late"), Retry(after=0.2)),
        (httpx.ConnectError("refused"), Retry(after=0.2)),
        (httpx.ProxyError("no way"), Retry(after=0.2)),
        (httpx.RemoteProtocolError("hung up"), Retry(after=0.2)),
        (http_failures.Refused(413), Split()),
        (http_failures.Refused(401), Fail()),
        (httpx.UnsupportedProtocol("gopher"), Fail()),
    ],
    ids=repr,
)
async def test_the_verdict_on_an_error(error: Exception, verdict: Verdict) -> None:
    """Temporary errors are retried within an hour; errors of every request end the queue."""
    failure = Failure(ITEMS[:2], error, None, attempt=2, reason="natural", seconds=0.0)
    assert verdict == http_failures.judge(failure)
