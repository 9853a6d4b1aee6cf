"""The failure handler for an HTTP API: it retries temporary errors, and drops refused items."""

import sys
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx

from flushq import Drop, Fail, Failure, Retry, Split, Verdict

T = TypeVar("T")

DOWN = (httpx.TimeoutException, httpx.NetworkError, httpx.ProxyError, httpx.RemoteProtocolError)
PASSING, POISONED = {408, 429, 500, 502, 503, 504}, {400, 409, 413, 422}


class Refused(Exception):
    """The status with which an API refused all items, or one, and the seconds until a retry."""

    def __init__(self, status: int, after: float = 0.0) -> None:
        self.status, self.after = status, after


def refusal(response: httpx.Response) -> Refused:
    """Return the exception for an answer that is not a success."""
    return Refused(response.status_code, retry_after(response.headers.get("Retry-After", "0")))


def retry_after(text: str) -> float:
    """Return the seconds from now that a Retry-After header means, or 0 if it is not valid."""
    try:  # a date of HTTP is always in UTC
        return (parsedate_to_datetime(text).replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return float(text) if text.isdecimal() else 0.0


def judge(failure: Failure[T]) -> Verdict:
    """Retry temporary errors; drop refused items, and split a batch until they are found.

    A pause is at most an hour. If the API says how long to wait, no other call starts until then.
    """
    refusals = [error for error in failure.errors or [failure.error] if isinstance(error, Refused)]
    statuses = {refusal.status for refusal in refusals}
    if isinstance(failure.error, DOWN) or statuses & PASSING:
        told = max((refusal.after for refusal in refusals), default=0.0)
        pause = max(told, min(5.0, 0.1 * failure.attempt))
        return Retry(after=min(3600.0, pause), hold=told > 0)
    if not statuses or statuses - POISONED:
        return Fail()
    if failure.errors is None and len(failure.items) > 1:
        return Split()
    print(f"refused: {failure.items}: {failure.error!r}", file=sys.stderr)
    return Drop()
