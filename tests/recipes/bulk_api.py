"""Send the lines of a file to an HTTP API that takes many items at once.

    python tests/recipes/bulk_api.py URL FILE

It is sent a JSON list of {"id": ..., "body": ...}, and must store an id once however often it comes:
after a timeout nobody knows, and the items are sent again. It answers 200 if it has stored all of
them, or 207 with a list of one status for each.
"""

import asyncio
import sys
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from flushq import Drop, Fail, Failure, FlushQueue, NaturalPolicy, PartialFailure, Retry, Split, Verdict

Item = dict[str, str]

PASSING = {408, 425, 429, 500, 502, 503, 504}
POISONED = {400, 409, 413, 422}


class ItemRefused(Exception):
    """The API has answered for one item with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


async def send(client: httpx.AsyncClient, url: str, items: list[Item]) -> None:
    """Send items; raise a PartialFailure of those that were not stored, if the others were."""
    response = await client.post(url, json=items)
    response.raise_for_status()
    if response.status_code == httpx.codes.MULTI_STATUS:
        statuses = enumerate(response.json())
        refused = {index: ItemRefused(status) for index, status in statuses if status >= 400}
        if refused:
            raise PartialFailure(refused)


def statuses(failure: Failure[Item]) -> set[int]:
    if isinstance(failure.error, httpx.HTTPStatusError):
        return {failure.error.response.status_code}
    return {error.status for error in failure.errors or () if isinstance(error, ItemRefused)}


def pause(failure: Failure[Item]) -> float:
    """How long to wait: as long as the API says, else longer each time."""
    if isinstance(failure.error, httpx.HTTPStatusError):
        after = failure.error.response.headers.get("Retry-After", "")
"""
