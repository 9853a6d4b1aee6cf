"""Send the lines of a file to an HTTP API that takes many items at once.

    python tests/recipes/bulk_api.py URL FILE

The API takes a JSON list of {"id": ..., "body": ...}, and stores an id once however often it comes,
since it comes again after a timeout. It answers 200, or 207 with a list of statuses, one an item.
"""

import asyncio
import sys
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path

import attrs
import httpx

import flushq

PASSING = {408, 429, 500, 502, 503, 504}
POISONED = {400, 409, 413, 422}


@attrs.define
class Refused(Exception):
    """The API answered with this status: for all items, or for one; try again after so long."""

    status: int
    after: float = 0.0


async def send(client: httpx.AsyncClient, url: str, items: list[dict[str, str]]) -> None:
    """Send items, and raise what says which were not stored."""
    response = await client.post(url, json=items)
    if not response.is_success:
        raise Refused(response.status_code, retry_after(response.headers.get("Retry-After", "0")))
    if response.status_code == httpx.codes.MULTI_STATUS:
        statuses = enumerate(response.json())
        refused = {index: Refused(status) for index, status in statuses if status >= 400}
        if refused:
            raise flushq.PartialFailure(refused)


def retry_after(value: str) -> float:
    """Seconds from now, of the two forms that Retry-After has."""
    if value.isdecimal():
        return float(value)
    return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())


def judge(failure: flushq.Failure[dict[str, str]]) -> flushq.Verdict:
    """Wait for what passes; drop what is refused, alone if nobody knows which it was."""
    refusals = [error for error in failure.errors or [failure.error] if isinstance(error, Refused)]
    statuses = {refusal.status for refusal in refusals}
    if isinstance(failure.error, httpx.TransportError) or statuses & PASSING:
        backoff = min(5.0, 0.1 * failure.attempt)
        return flushq.Retry(after=max([backoff, *(refusal.after for refusal in refusals)]))
    if not statuses or statuses - POISONED:
        return flushq.Fail()
    if failure.errors is None and len(failure.items) > 1:
        return flushq.Split()
    print(f"refused: {failure.items}: {failure.error!r}", file=sys.stderr)
    return flushq.Drop()


async def main(url: str, file: Path) -> None:
    """Send the lines of a file, and tell how many were stored."""
    policy = flushq.NaturalPolicy(max_records=500)
    async with httpx.AsyncClient(timeout=10.0) as client:
        post = partial(send, client, url)
        async with flushq.FlushQueue(post, policy, max_in_flight=4, on_failure=judge) as queue:
            with file.open(errors="replace") as lines:
                for number, line in enumerate(lines, 1):
                    await queue.enqueue({"id": f"{file}:{number}", "body": line.rstrip("\n")})
    print(f"{queue.stats().delivered} lines are stored")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
