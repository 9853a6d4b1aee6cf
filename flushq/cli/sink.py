"""The interface of sinks. A sink is the table or the stream that an ingestion writes to."""

from typing import Protocol, Self

from flushq.cli.reading import Row


class Sink(Protocol):
    """A place for lines. ``async with`` opens it or raises CannotStart; ``str`` returns its name.

    Attributes:
        stored: The number of lines that were stored.
        ignored: The number of lines that the sink did not store, although it raised no error.
        batches: The number of batches that were stored.
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
    """The error for lines that the stream has not acknowledged.

    Args:
        why: The message for the user.
        refused: Whether the stream would refuse one of the lines again: the line is too long, for
            example.
    """

    def __init__(self, why: str, *, refused: bool = False) -> None:
        super().__init__(why)
        self.refused = refused
