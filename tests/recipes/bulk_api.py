"""Send the lines of a file to an HTTP API that takes many items at once.

    python tests/recipes/bulk_api.py URL FILE

The API takes a JSON list of {"id": ..., "body": ...}, stores an id once however often it comes (as
after a timeout), and answers 200, or 207 with a list of statuses. It gets ten requests a second at
most, tried again or not, and none before Retry-After is over. Ends with 1 if any item is refused.
"""

import asyncio
import sys
from functools import partial
from pathlib import Path

import httpx
import urls
from http_failures import Refused, judge, refusal

from flushq import FlushQueue, NaturalPolicy, PartialFailure
from flushq.throttles import RateLimit

Item = dict[str, str]


async def send(client: httpx.AsyncClient, url: str, items: list[Item]) -> None:
    """Send items, and raise what says which were not stored."""
    response = await client.post(url, json=items)
    if not response.is_success:
        raise refusal(response)
    if response.status_code == httpx.codes.MULTI_STATUS:
        statuses = zip(range(len(items)), response.json(), strict=True)
        if refused := {n: Refused(code) for n, code in statuses if code not in range(200, 300)}:
            raise PartialFailure(refused)


def sending(client: httpx.AsyncClient, url: str) -> FlushQueue[Item]:
    """A queue of items, with up to four requests at a time."""
    return FlushQueue(
        partial(send, client, url), NaturalPolicy(max_records=500), throttle=RateLimit(10, 1.0),
        max_in_flight=4, max_shutdown_wait=10.0, on_failure=judge,
    )  # fmt: skip


async def main(url: str, file: Path) -> int:
    """Send the lines of a file, tell how many were stored, and return how many were refused."""
    urls.check(url)
    async with httpx.AsyncClient(timeout=10.0) as client, sending(client, url) as queue:
        with file.open(errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                await queue.enqueue({"id": f"{file}:{number}", "body": line.rstrip("\n")})
        await queue.flush()  # however long the API is away; after Ctrl-C ten seconds at most
    print(queue.stats().delivered, "lines are stored")
    return queue.stats().dropped


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(asyncio.run(main(sys.argv[1], Path(sys.argv[2]).resolve())) > 0)
