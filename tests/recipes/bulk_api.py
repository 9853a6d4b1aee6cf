"""Send the lines of a file to an HTTP API that takes many items at once.

    python tests/recipes/bulk_api.py URL FILE

The API must take a JSON list of {"id": ..., "body": ...}, store an id only once (it may come again
after a timeout), and answer 200, or 207 with a list of statuses. It gets at most ten requests a
second (with retries), none before Retry-After is over. The exit code is 1 if it refuses an item.
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
    """Send items in one request; raise an exception that says which items were not stored."""
    response = await client.post(url, json=items)
    if not response.is_success:
        raise refusal(response)
    if response.status_code == httpx.codes.MULTI_STATUS:
        statuses = zip(range(len(items)), response.json(), strict=True)
        if refused := {n: Refused(code) for n, code in statuses if code not in range(200, 300)}:
            raise PartialFailure(refused)


def sending(client: httpx.AsyncClient, url: str) -> FlushQueue[Item]:
    """Return a queue that sends items, with up to four requests at a time."""
    return FlushQueue(
        partial(send, client, url), NaturalPolicy(max_records=500), throttle=RateLimit(10, 1.0),
        max_in_flight=4, max_shutdown_wait=10.0, on_failure=judge,
    )  # fmt: skip


async def main(url: str, file: Path) -> int:
    """Send the lines of a file, print how many were stored, and return how many were refused."""
    urls.check(url)
    async with httpx.AsyncClient(timeout=10.0) as client, sending(client, url) as queue:
        with file.open(errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                await queue.enqueue({"id": f"{file}:{number}", "body": line.rstrip("\n")})
        await queue.flush()  # waits as long as the API is down; after Ctrl-C at most ten seconds
    print(queue.stats().delivered, "lines are stored")
    return queue.stats().dropped


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(asyncio.run(main(sys.argv[1], Path(sys.argv[2]).resolve())) > 0)
