"""Where an ingestion brings its lines: what it asks of a table, and of a stream in its place."""

from typing import Protocol, Self

from flushq.cli.reading import Row


class Sink(Protocol):
    """Opened by ``async with``, which raises CannotOpen; its ``str`` is what to call it.

    Attributes:
        stored: How many lines were stored.
        ignored: How many were not, because the sink did not want them, or had them already.
        batches: In how many batches.
    """

    stored: int
    ignored: int
    batches: int

    async def __aenter__(self) -> Self: ...  # pragma: no cover - a protocol has no code

    async def __aexit__(self, *exc_info: object) -> None: ...  # pragma: no cover - a protocol

    async def write(self, rows: list[Row]) -> None:
        """Store the rows."""
        ...  # pragma: no cover - a protocol has no code


class NotPublished(Exception):
    """Lines did not get into the stream.

    Args:
        why: What to tell the user.
        refused: Whether that is for what a line is, as when it is too long.
    """

    def __init__(self, why: str, *, refused: bool = False) -> None:
        super().__init__(why)
        self.refused = refused
