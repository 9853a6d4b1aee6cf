"""Send the lines of a file to an HTTP API that takes many items at once.

    python tests/recipes/bulk_api.py URL FILE

The API takes a JSON list of {"id": ..., "body": ...}, stores an id once however often it comes (as
after a timeout), and answers 200, or 207 with a list of statuses. Ends with 1 if any is refused.
"""

import asyncio
import sys
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path

import httpx
import urls

import flushq

AWAY = (httpx.TimeoutException, httpx.NetworkError, httpx.ProxyError, httpx.RemoteProtocolError)
PASSING, POISONED = {408, 429, 500, 502, 503, 504}, {400, 409, 413, 422}


class Refused(Exception):
    """The API answered with this status: for all items, or for one; try again after so long."""

    def __init__(self, status: int, after: float = 0.0) -> None:
        self.status, self.after = status, after


async def send(client: httpx.AsyncClient, url: str, items: list[dict[str, str]]) -> None:
    """Send items, and raise what says which were not stored."""
    response = await client.post(url, json=items)
    if not response.is_success:
        raise Refused(response.status_code, retry_after(response.headers.get("Retry-After", "0")))
    if response.status_code == httpx.codes.MULTI_STATUS:
        statuses = zip(range(len(items)), response.json(), strict=True)
        if refused := {n: Refused(code) for n, code in statuses if code not in range(200, 300)}:
            raise flushq.PartialFailure(refused)


def retry_after(text: str) -> float:
    """Seconds from now, of the two forms that Retry-After has; 0 of any other."""
    try:  # all dates of HTTP are of UTC
        return (parsedate_to_datetime(text).replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return float(text) if text.isdecimal() else 0.0


def judge(failure: flushq.Failure[dict[str, str]]) -> flushq.Verdict:
    """Wait an hour at most for what passes; drop what is refused, alone if nobody knows which."""
    refusals = [error for error in failure.errors or [failure.error] if isinstance(error, Refused)]
    statuses = {refusal.status for refusal in refusals}
    if isinstance(failure.error, AWAY) or statuses & PASSING:
        pauses = [min(5.0, 0.1 * failure.attempt), *(refusal.after for refusal in refusals)]
        return flushq.Retry(after=min(3600.0, max(pauses)), hold=max(pauses[1:], default=0) > 0)
    if not statuses or statuses - POISONED:
        return flushq.Fail()
    if failure.errors is None and len(failure.items) > 1:
        return flushq.Split()
    print(f"refused: {failure.items}: {failure.error!r}", file=sys.stderr)
    return flushq.Drop()


async def main(url: str, file: Path) -> int:
    """Send the lines of a file, tell how many were stored, and return how many were refused."""
    urls.check(url)
    async with httpx.AsyncClient(timeout=10.0) as client:
        post, policy = partial(send, client, url), flushq.NaturalPolicy(max_records=500)
        async with flushq.FlushQueue(post, policy, max_in_flight=4, on_failure=judge) as queue:
            with file.open(errors="replace") as lines:
                for number, line in enumerate(lines, 1):
                    await queue.enqueue({"id": f"{file}:{number}", "body": line.rstrip("\n")})
    print(queue.stats().delivered, "lines are stored")
    return queue.stats().dropped


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], Path(sys.argv[2]).resolve())) > 0)
