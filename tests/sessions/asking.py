"""A plain model of a `Batched`: the requests that wait, and the callers of each.

Callers with the same key share a *request*. It begins with the first caller and ends when its batch
is cut or when it is displaced. If there is no room and nothing may be displaced, a caller waits in
line.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Any

import attrs

from flushq import Displaced
from tests.sessions.facts import Limits

Answer = Callable[[object, BaseException | None], bool]
"""A function that returns whether a caller got the right value or the right exception."""


@attrs.frozen
class Value:
    """A loaded value; no two values are the same object."""

    key: int


@attrs.define(eq=False)
class Request:
    """One key that some callers have asked for together.

    Attributes:
        key: The key.
        callers: The callers that still wait.
        answer: A check of what the callers get; None until the right answer is known.
    """

    key: int
    callers: list["Ask"] = attrs.field(factory=list)
    answer: Answer | None = None


@attrs.define(eq=False)
class Ask:
    """One call of a `Batched`.

    Attributes:
        key: The key that is asked for.
        task: The task of the caller.
        is_cancelled: Whether the caller is being cancelled.
        request: The request that the caller shares; None if the call was not accepted.
    """

    key: int
    task: asyncio.Task[Any]
    is_cancelled: bool = False
    request: Request | None = None


def weight_of(key: int) -> float:
    """Return the weight of a key."""
    return 1.0 + key // 2


def parity_of(key: int) -> int:
    """Return the partition of a key."""
    return key % 2


@attrs.define
class Waiting:
    """The requests that wait, and the callers in line for room.

    Attributes:
        limits: The limits of the queue.
        complain: A function that notes a breach of a point of the contract.
        requests: The requests that wait, the oldest first.
        line: The callers that were not accepted yet.
        accepted, duplicates, displaced: How many calls were accepted, were duplicates, and how
            many requests were displaced.
        overflowed: Whether a request was displaced since the last batch was cut.
    """

    limits: Limits
    complain: Callable[[int | str, str], None]
    requests: list[Request] = attrs.field(factory=list)
    line: list[Ask] = attrs.field(factory=list)
    accepted: int = 0
    duplicates: int = 0
    displaced: int = 0
    overflowed: bool = False

    @property
    def weight(self) -> float:
        """The weight of all requests that wait."""
        return sum(weight_of(request.key) for request in self.requests)

    def has_room_for(self, key: int) -> bool:
        """Return whether one more request may wait."""
        most = self.limits.max_queue_weight
        is_light = most is None or self.weight + weight_of(key) <= most
        return len(self.requests) < self.limits.max_queue_size and is_light

    def accept(self, ask: Ask) -> None:
        """Let a caller leave the line, and join or make its request."""
        before = self.line[: self.line.index(ask)]
        self.line.remove(ask)
        self.accepted += 1
        ask.request = next((each for each in self.requests if each.key == ask.key), None)
        if ask.request is None:
            ask.request = Request(ask.key)
            if any(not other.is_cancelled for other in before):
                self.complain(7, f"{ask.task.get_name()} has overtaken others")
            self._add(ask.request)
        else:
            self.duplicates += 1
        ask.request.callers.append(ask)

    def _add(self, request: Request) -> None:
        when_full = self.limits.when_full
        while when_full == "drop_oldest" and not self.has_room_for(request.key):
            self._displace(self.requests.pop(0))
        if self.has_room_for(request.key):
            self.requests.append(request)
        elif when_full == "drop_newest":
            self._displace(request)
        else:
            self.complain("B1", f"there is no room for {request.key}")

    def _displace(self, request: Request) -> None:
        self.displaced += 1
        self.overflowed = True
        request.answer = _is_displaced(request.key)

    def cut(self, count: int, partition: object) -> list[Request]:
        """Remove the oldest ``count`` requests of a partition, and return them."""
        self.overflowed = False
        batch = [each for each in self.requests if self._partition_of(each) == partition][:count]
        self.requests = [each for each in self.requests if each not in batch]
        return batch

    def _partition_of(self, request: Request) -> int | None:
        return parity_of(request.key) if self.limits.partitioned else None

    @property
    def is_pressing(self) -> bool:
        """Whether a batch must be cut as soon as one may be."""
        if self.limits.when_full == "wait":
            return bool(self.line)
        is_heavy = self.weight >= (self.limits.max_queue_weight or math.inf)
        return self.overflowed or is_heavy or len(self.requests) >= self.limits.max_queue_size

    def check_line(self) -> None:
        """Complain if the first caller in line has room; call it when the loop is idle."""
        if any(self.has_room_for(ask.key) for ask in self.line[:1]):
            self.complain(7, f"{self.line[0].task.get_name()} waits in line although there is room")


def _is_displaced(key: int) -> Answer:
    return lambda value, error: type(error) is Displaced and error.item == key
