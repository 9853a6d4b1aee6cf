"""The recipe for an HTTP bulk API, and what such an API answers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path

import bulk_api
import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from flushq import Fail, Failure, FlushFailed, FlushQueue, NaturalPolicy, Retry, Verdict
from tests.field.conftest import Run, ended

pytestmark = pytest.mark.asyncio(loop_factories=["standard"])

Item = dict[str, str]
Answer = Callable[["Api", list[Item]], Awaitable[web.StreamResponse]]

ITEMS = [{"id": f"{number:03}", "body": f"body {number}"} for number in range(300)]


class Api:
    """An API that stores items by id.

    Args:
        answers: How it answers its first requests; all others are stored.
        always: How it answers every other.

    Attributes:
        items: What is stored.
        sizes: How many items each request had.
    """

    def __init__(self, *answers: Answer, always: "Answer | None" = None) -> None:
        self.items: dict[str, Item] = {}
        self.sizes: list[int] = []
        self.over = asyncio.Event()
        self._answers = list(answers)
        self._always = always or store

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        items: list[Item] = await request.json()
        self.sizes.append(len(items))
        answer = self._answers.pop(0) if self._answers else self._always
        return await answer(self, items)

    def put(self, items: list[Item]) -> None:
        """Store items."""
        self.items.update((item["id"], item) for item in items)


async def store(api: Api, items: list[Item]) -> web.StreamResponse:
    """Store all."""
    api.put(items)
    return web.Response()


def refuse(status: int, after: str | None = None) -> Answer:
    """Store nothing, and answer with a status."""

    async def answer(api: Api, items: list[Item]) -> web.StreamResponse:
        return web.Response(status=status, headers={} if after is None else {"Retry-After": after})

    return answer


def refuse_some(status: int, *ids: str) -> Answer:
    """Store all but these, and answer with a status for each."""

    async def answer(api: Api, items: list[Item]) -> web.StreamResponse:
        api.put([item for item in items if item["id"] not in ids])
        statuses = [status if item["id"] in ids else 201 for item in items]
        return web.json_response(statuses, status=207)

    return answer


async def store_and_hang(api: Api, items: list[Item]) -> web.StreamResponse:
    """Store all, and answer when nobody waits any more."""
    api.put(items)
    await api.over.wait()
    return web.Response()


async def refuse_item_7(api: Api, items: list[Item]) -> web.StreamResponse:
    """Refuse all that comes with item 7, without a word which it was."""
    poisoned = any(item["id"] == "007" for item in items)
    return await (refuse(422) if poisoned else store)(api, items)


async def refuse_many(api: Api, items: list[Item]) -> web.StreamResponse:
    """Refuse more than 40 items at once."""
    return await (refuse(413) if len(items) > 40 else store)(api, items)


@asynccontextmanager
async def serving(api: Api) -> AsyncIterator[str]:
    """The URL of an API."""
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
        async with FlushQueue(post, policy, on_failure=bulk_api.judge) as queue:
            for item in ITEMS:
                await queue.enqueue(item)
    return queue


def all_but(*ids: str) -> dict[str, Item]:
    """What is to be stored."""
    return {item["id"]: item for item in ITEMS if item["id"] not in ids}


async def test_the_program(run: Run, tmp_path: Path) -> None:
    """The lines of a file are sent in batches."""
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
    """It is named, all others are stored, and the exit code is 1."""
    file = tmp_path / "lines"
    file.write_text("one\ntwo\nthree\n")
    api = Api(always=refuse_some(422, f"{file}:2"))
    async with serving(api) as url:
        out, err, code = await ended(run("bulk_api.py", url, "lines"))

    assert ("2 lines are stored\n", 1) == (out, code)
    assert f"{file}:2" in err
    assert {f"{file}:1", f"{file}:3"} == set(api.items)
    assert 3 == sum(api.sizes)  # nothing has come again


async def test_a_url_that_cannot_be_read_is_not_used(tmp_path: Path) -> None:
    """It is refused before anybody complains of a part of its password."""
    with pytest.raises(ValueError, match=r"^a URL cannot be read: quote its password"):
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
async def test_what_passes(answer: Answer) -> None:
    """What the API cannot take now comes again, and nothing else does."""
    api = Api(answer)
    queue = await send(api)

    assert all_but() == api.items
    assert len(ITEMS) == queue.stats().delivered
    assert sum(api.sizes) in {len(ITEMS) + 2, len(ITEMS) + 100}


async def test_an_answer_that_does_not_come() -> None:
    """What was stored though nobody knew comes again under the same id."""
    api = Api(store_and_hang)
    queue = await send(api, patience=1.0)

    assert all_but() == api.items
    assert len(ITEMS) == queue.stats().delivered
    assert [100, 100, 100, 100] == api.sizes


async def told(statuses: object) -> FlushQueue[Item]:
    """The queue of three items, after an API that answered 207 with this in place of statuses."""
    answer = httpx.MockTransport(lambda request: httpx.Response(207, json=statuses))
    async with httpx.AsyncClient(transport=answer) as client:
        post, policy = partial(bulk_api.send, client, "http://api"), NaturalPolicy(max_records=3)
        async with FlushQueue(post, policy, on_failure=bulk_api.judge) as queue:
            for item in ITEMS[:3]:
                await queue.enqueue(item)
    return queue


@pytest.mark.parametrize("status", [199, 300, 301, 100, 0, True, False, "201", None, [201]])
async def test_a_status_that_is_not_a_success(status: object) -> None:
    """Its item was not stored, and trying again cannot mend that: it is in doubt, and no other."""
    with pytest.raises(FlushFailed) as caught:
        await told([201, status, 201])
    assert ([ITEMS[1]], []) == (caught.value.in_doubt, caught.value.undelivered)


@pytest.mark.parametrize("statuses", [[], [201], [201] * 4, [422], [422] * 4, {}, None, 201])
async def test_statuses_that_do_not_fit(statuses: object) -> None:
    """An API that does not tell one of each item may have stored any: all are in doubt."""
    with pytest.raises(FlushFailed) as caught:
        await told(statuses)
    assert (ITEMS[:3], []) == (caught.value.in_doubt, caught.value.undelivered)


async def test_statuses_of_success() -> None:
    """Every status of success is one."""
    assert 3 == (await told([200, 201, 299])).stats().delivered


async def test_an_item_that_is_refused_with_all_others(capsys: pytest.CaptureFixture[str]) -> None:
    """An item that the API does not name is found."""
    api = Api(always=refuse_item_7)
    queue = await send(api)

    assert all_but("007") == api.items
    assert 1 == queue.stats().dropped
    assert "007" in capsys.readouterr().err


async def test_too_many_items_at_once() -> None:
    """What is too much for one request comes in several."""
    api = Api(always=refuse_many)
    queue = await send(api)

    assert all_but() == api.items
    assert len(ITEMS) == queue.stats().delivered
    assert {100, 50, 25} == set(api.sizes)


async def test_an_api_that_lets_nobody_in() -> None:
    """What trying again cannot mend ends the queue."""
    api = Api(always=refuse(401))
    with pytest.raises(FlushFailed) as caught:
        await send(api)

    assert len(ITEMS) == len(caught.value.in_doubt + caught.value.undelivered)


def verdict(error: Exception) -> Verdict:
    """What the recipe says of an error at the second try."""
    failure = Failure([ITEMS[0]], error, None, attempt=2, reason="natural", seconds=0.0)
    return bulk_api.judge(failure)


async def test_how_long_to_wait() -> None:
    """Retry-After is obeyed for up to an hour, in both of its forms."""
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 7.0 == bulk_api.retry_after("7")
    assert 55 < bulk_api.retry_after(later) <= 60
    assert 55 < bulk_api.retry_after(later.removesuffix(" GMT")) <= 60
    assert bulk_api.retry_after("Wed, 21 Oct 2015 07:28:00 GMT") < 0

    assert Retry(after=7.0) == verdict(bulk_api.Refused(429, after=7.0))
    assert Retry(after=0.2) == verdict(bulk_api.Refused(429, after=-7.0))
    assert Retry(after=3600.0) == verdict(bulk_api.Refused(429, bulk_api.retry_after("9" * 400)))


@pytest.mark.parametrize("value", ["", "soon", "-1", "\u00b2", "Mon, 99 Oct 2015 07:28:00 GMT"])
async def test_nonsense_is_no_time_to_wait(value: str) -> None:
    """A Retry-After that makes no sense does no harm."""
    assert 0.0 == bulk_api.retry_after(value)


@pytest.mark.parametrize(
    "error",
    [
        httpx.ReadTimeout("late"),
        httpx.PoolTimeout("late"),
        httpx.ConnectError("refused"),
        httpx.CloseError("gone"),
        httpx.ProxyError("no way"),
        httpx.RemoteProtocolError("hung up"),
    ],
)
async def test_an_api_that_is_away(error: Exception) -> None:
    """An API that does not answer, or hangs up, is tried again."""
    assert Retry(after=0.2) == verdict(error)


async def test_a_url_of_no_api(run: Run, tmp_path: Path) -> None:
    """What will be wrong with every request ends the program."""
    (tmp_path / "lines").write_text("line 1\n")
    out, err, _ = await ended(run("bulk_api.py", "gopher://api", "lines"))
    assert "" == out
    assert "(0 undelivered, 1 in doubt)" in err
    assert Fail() == verdict(httpx.LocalProtocolError("no header"))
