"""The recipe for Elasticsearch, with the real client and a server that gives documented answers.

The answers are those of https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import elasticsearch_bulk
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig
from elasticsearch import ApiError, ConnectionTimeout
from elasticsearch import ConnectionError as NoConnection

from flushq import Fail, Failure, PartialFailure, Retry, Split, Verdict

pytestmark = pytest.mark.asyncio(loop_factories=["standard"])

PRODUCT = {"X-Elastic-Product": "Elasticsearch"}
BUSY = {"type": "es_rejected_execution_exception", "reason": "rejected execution of a bulk"}
MISFIT = {"type": "document_parsing_exception", "reason": "failed to parse field [price]"}


class Index:
    """An index whose mapping has a number named price; it is too busy for document 3 at first.

    Args:
        failures: The statuses of its first answers, each for a whole request.
        longest: The number of documents that a request may have.

    Attributes:
        documents: The indexed documents, by their ids.
        tries: The number of times that each document came in a request that was not refused.
    """

    def __init__(self, *failures: int, longest: int = 1_000) -> None:
        self.documents: dict[str, Any] = {}
        self.tries: Counter[str] = Counter()
        self.busy = {"3"}
        self._failures = list(failures)
        self._longest = longest

    async def serve(self, request: web.Request) -> web.Response:
        """Answer a bulk request."""
        lines = [json.loads(line) for line in (await request.text()).splitlines()]
        if self._failures:
            return self._refuse(self._failures.pop(0))
        if len(lines) > 2 * self._longest:
            return self._refuse(413)
        keys = [action["index"]["_id"] for action in lines[::2]]
        items = [self._put(key, source) for key, source in zip(keys, lines[1::2], strict=True)]
        errors = any("error" in item for item in items)
        answer = {"took": 30, "errors": errors, "items": [{"index": item} for item in items]}
        return web.json_response(answer, headers=PRODUCT)

    def _put(self, key: str, source: Any) -> dict[str, Any]:
        self.tries[key] += 1
        item = {"_index": "prices", "_id": key}
        number = key.rpartition(":")[2]
        if number in self.busy:
            self.busy.remove(number)
            return item | {"status": 429, "error": BUSY}
        if not isinstance(source["price"], int):
            return item | {"status": 400, "error": MISFIT}
        self.documents[key] = source
        return item | {"status": 201, "result": "created", "_version": 1}

    def _refuse(self, status: int) -> web.Response:
        answer = {"error": {"root_cause": [BUSY], **BUSY}, "status": status}
        return web.json_response(answer, status=status, headers=PRODUCT)


async def index(index: Index, file: Path) -> int:
    """Index a file as the program does, and return the number of refused documents."""
    app = web.Application()
    app.add_routes([web.put("/prices/_bulk", index.serve)])
    async with TestServer(app) as server:
        url = str(server.make_url("/")).rstrip("/")
        return await elasticsearch_bulk.main(url, "prices", file)


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    """A file of ten documents, the seventh of which does not fit the mapping."""
    file = tmp_path / "prices"
    documents = [{"price": "cheap" if number == 7 else number} for number in range(1, 11)]
    file.write_text("".join(json.dumps(document) + "\n" for document in documents))
    return file


def names(file: Path, *numbers: int) -> set[str]:
    """Return the ids of the documents in these lines."""
    return {f"{file}:{number}" for number in numbers}


async def test_a_part_of_a_request_is_refused(prices: Path) -> None:
    """One document is sent again, one is buried with the reason, and the others are sent once."""
    server = Index(503)

    assert 1 == await index(server, prices)

    assert names(prices, 1, 2, 3, 4, 5, 6, 8, 9, 10) == set(server.documents)
    again = {name for name, tries in server.tries.items() if tries > 1}
    assert names(prices, 3) <= again <= names(prices, 3, 7)
    letter = json.loads(prices.with_name("prices.refused").read_text())
    assert {"id": f"{prices}:7", "document": {"price": "cheap"}} == {
        name: letter[name] for name in ("id", "document")
    }
    assert letter["reason"].startswith("400: ")
    assert "failed to parse field [price]" in letter["reason"]


async def test_a_request_that_is_too_long(prices: Path) -> None:
    """A request that is too long is split."""
    server = Index(longest=2)
    assert 1 == await index(server, prices)
    assert 9 == len(server.documents)


def answered(status: int) -> ApiError:
    """Return the error that the client raises for a status."""
    node = NodeConfig("http", "localhost", 9200)
    return ApiError("", ApiResponseMeta(status, "1.1", HttpHeaders(), 0.1, node), {})


def refused(*statuses: int) -> PartialFailure:
    """Return the error that the recipe raises if documents are refused."""
    refusals = [
        elasticsearch_bulk.Refused({"status": status, "error": BUSY}) for status in statuses
    ]
    return PartialFailure(dict(enumerate(refusals)))


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (NoConnection("refused"), Retry(after=0.2)),
        (ConnectionTimeout("late"), Retry(after=0.2)),
        (answered(429), Retry(after=0.2)),
        (answered(502), Retry(after=0.2)),
        (answered(504), Retry(after=0.2)),
        (refused(429, 400), Retry(after=0.2)),
        (refused(503, 404), Retry(after=0.2)),
        (answered(400), Split()),
        (answered(401), Fail()),
        (answered(404), Fail()),
        (refused(400, 404), Fail()),
    ],
    ids=repr,
)
async def test_the_verdict_on_an_error(error: Exception, verdict: Verdict, tmp_path: Path) -> None:
    """Temporary errors are retried; an error that affects every request ends the queue."""
    errors = [*error.errors.values()] if isinstance(error, PartialFailure) else None
    items = [("1", {"price": 1}), ("2", {"price": 2})]
    failure = Failure(items, error, errors, attempt=2, reason="natural", seconds=0.0)
    assert verdict == await elasticsearch_bulk.handler(tmp_path / "refused")(failure)
