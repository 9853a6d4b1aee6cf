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

AWAY = (httpx.TimeoutException, httpx.NetworkError, httpx.ProxyError, httpx.RemoteProtocolError)
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
    codes = response.json() if response.status_code == httpx.codes.MULTI_STATUS else []
    if refused := {index: Refused(status) for index, status in enumerate(codes) if status >= 400}:
        raise flushq.PartialFailure(refused)


def retry_after(value: str) -> float:
    """Seconds from now, of the two forms that Retry-After has; 0 of any other."""
    try:
        then = parsedate_to_datetime(value).replace(tzinfo=UTC)  # as all dates of HTTP
    except (ValueError, OverflowError):
        return float(value) if value.isdecimal() else 0.0
    return (then - datetime.now(UTC)).total_seconds()


def judge(failure: flushq.Failure[dict[str, str]]) -> flushq.Verdict:
    """Wait an hour at most for what passes; drop what is refused, alone if nobody knows which."""
    refusals = [error for error in failure.errors or [failure.error] if isinstance(error, Refused)]
    statuses = {refusal.status for refusal in refusals}
    if isinstance(failure.error, AWAY) or statuses & PASSING:
        pauses = [min(5.0, 0.1 * failure.attempt), *(refusal.after for refusal in refusals)]
        return flushq.Retry(after=min(3600.0, max(pauses)))
    if not statuses or statuses - POISONED:
        return flushq.Fail()
    if failure.errors is None and len(failure.items) > 1:
        return flushq.Split()
    print(f"refused: {failure.items}: {failure.error!r}", file=sys.stderr)
    return flushq.Drop()


async def main(url: str, file: Path) -> None:
    """Send the lines of a file, and tell how many were stored."""
    async with httpx.AsyncClient(timeout=10.0) as client:
        post, policy = partial(send, client, url), flushq.NaturalPolicy(max_records=500)
        async with flushq.FlushQueue(post, policy, max_in_flight=4, on_failure=judge) as queue:
            with file.open(errors="replace") as lines:
                for number, line in enumerate(lines, 1):
                    await queue.enqueue({"id": f"{file}:{number}", "body": line.rstrip("\n")})
    print(f"{queue.stats().delivered} lines are stored")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]).resolve()))
