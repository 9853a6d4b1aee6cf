"""Index the documents of a file in Elasticsearch, with its bulk API.

    python tests/recipes/elasticsearch_bulk.py URL INDEX FILE

Each line of the file is a JSON object. Its id is the path of the file and the number of the line.

Elasticsearch answers 200 even if it refused some documents. Documents with status 429 (too busy)
are sent again, without the others. Documents with status 400 (they do not fit the mapping) go to
FILE.refused, with reasons; then the exit code is 1. While Elasticsearch is down, the program waits.
"""

import asyncio
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import elasticsearch
import urls

from flushq import FailureHandler, FlushQueue, NaturalPolicy, PartialFailure, Retry

Document = tuple[str, dict[str, Any]]

PASSING, POISONED = {429, 502, 503, 504}, {400, 413}
DOWN = (elasticsearch.ConnectionError, elasticsearch.ConnectionTimeout)


class Refused(Exception):
    """The answer of Elasticsearch for a document that it refused: a status, and the reason."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__(f"{result['status']}: {json.dumps(result.get('error'))}")
        self.status_code: int = result["status"]


async def index(client: elasticsearch.AsyncElasticsearch, name: str, batch: list[Document]) -> None:
    """Index documents; raise an exception that says which documents were not indexed."""
    operations = [line for key, source in batch for line in ({"index": {"_id": key}}, source)]
    answer = await client.bulk(index=name, operations=operations)
    if answer["errors"]:  # the results are in the order of the documents
        results = enumerate(item["index"] for item in answer["items"])
        raise PartialFailure({n: Refused(result) for n, result in results if "error" in result})


async def bury(letters: Path, document: Document, error: BaseException) -> None:
    """Append a document that Elasticsearch refuses to a file, with the reason."""
    letter = {"id": document[0], "reason": str(error), "document": document[1]}
    with letters.open("a") as file:
        file.write(json.dumps(letter) + "\n")


def handler(letters: Path) -> FailureHandler[Document]:
    """Return a handler that always retries temporary errors and buries refused documents."""
    return FailureHandler(
        retry=lambda error: isinstance(error, DOWN) or getattr(error, "status_code", 0) in PASSING,
        split=lambda error: getattr(error, "status_code", 0) in POISONED,
        bury=partial(bury, letters),
        backoff=lambda failure: Retry.backoff(failure.attempt, most=5.0),
    )


async def main(url: str, name: str, file: Path) -> int:
    """Index the documents of a file, print their number, and return how many were refused."""
    urls.check(url)
    judge = handler(file.with_name(f"{file.name}.refused"))
    async with elasticsearch.AsyncElasticsearch(url, max_retries=0, request_timeout=10) as client:
        flush, policy = partial(index, client, name), NaturalPolicy(max_records=500)
        async with FlushQueue(flush, policy, max_shutdown_wait=10.0, on_failure=judge) as queue:
            with file.open() as lines:
                for number, line in enumerate(lines, 1):
                    await queue.enqueue((f"{file}:{number}", json.loads(line)))
            await queue.flush()  # waits while Elasticsearch is down; after Ctrl-C ten seconds
    print(queue.stats().delivered, "documents are indexed")
    return queue.stats().dropped


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]).resolve())) > 0)
