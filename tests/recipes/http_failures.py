"""What to do when an HTTP API fails: wait for what passes, and drop what it refuses."""

import sys
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx

from flushq import Drop, Fail, Failure, Retry, Split, Verdict

T = TypeVar("T")

AWAY = (httpx.TimeoutException, httpx.NetworkError, httpx.ProxyError, httpx.RemoteProtocolError)
PASSING, POISONED = {408, 429, 500, 502, 503, 504}, {400, 409, 413, 422}


class Refused(Exception):
    """The API answered with this status: for all items, or for one; try again after so long."""

    def __init__(self, status: int, after: float = 0.0) -> None:
        self.status, self.after = status, after


def refusal(response: httpx.Response) -> Refused:
    """What an answer without success says."""
    return Refused(response.status_code, retry_after(response.headers.get("Retry-After", "0")))


def retry_after(text: str) -> float:
    """Seconds from now, of the two forms that Retry-After has; 0 of any other."""
    try:  # all dates of HTTP are of UTC
        return (parsedate_to_datetime(text).replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return float(text) if text.isdecimal() else 0.0


def judge(failure: Failure[T]) -> Verdict:
    """Wait an hour at most for what passes; drop what is refused, alone if nobody knows which.

    If the API says how long to wait, no other call starts until then.
    """
    refusals = [error for error in failure.errors or [failure.error] if isinstance(error, Refused)]
    statuses = {refusal.status for refusal in refusals}
    if isinstance(failure.error, AWAY) or statuses & PASSING:
        told = max((refusal.after for refusal in refusals), default=0.0)
        pause = max(told, min(5.0, 0.1 * failure.attempt))
        return Retry(after=min(3600.0, pause), hold=told > 0)
    if not statuses or statuses - POISONED:
        return Fail()
    if failure.errors is None and len(failure.items) > 1:
        return Split()
    print(f"refused: {failure.items}: {failure.error!r}", file=sys.stderr)
    return Drop()
