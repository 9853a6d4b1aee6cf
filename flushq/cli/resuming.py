"""Resuming an ingestion that ended early: the reading starts after the last stored line.

Theory of operation. Batches, and the parts of a split batch, are written one at a time, each in one
transaction, and in the order in which their lines were read. So when a line is stored, all lines
above it in the file have ended: each of them was stored, ignored or skipped, or was a duplicate or
a dead letter. The lines after the last stored line are read again. None of them was stored, but
some may have ended in another way. A line that was ignored or skipped is ignored or skipped again.
A line that the table refused is refused again, but the dead-letter file does not get its letter
twice. A line that was a duplicate may be stored now: a line is a duplicate only while another line
with the same key waits in the queue. So an ingestion can be killed at any moment, and resumed.

A file that was replaced (by log rotation, for example) is recognised: its last stored line must
still be at the same place in the file. This is checked before any line is read, and again when the
file is opened.
"""

from collections import deque
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from flushq.cli.reading import STANDARD_INPUT, Start, shown
from flushq.cli.table import Table, excerpt
from flushq.cli.terminal import Complaints, counted


class CannotResume(Exception):
    """The error if a source cannot be resumed; no line was read."""


async def find_starts(sources: Iterable[str], table: Table) -> dict[str, Start]:
    """Return, for each source with a stored line, the start after its last stored line.

    Raises:
        CannotResume: A source is not a file, is named twice, has fewer lines than the number of its
            last stored line, or has a different line at the place of that line.
        CannotStart: The table cannot be opened or read.
    """
    names = set[str]()
    for source in sources:
        _check(source, names)
    async with table:
        last = {source: await table.last_line(shown(source)) for source in sources}
    starts = {source: _start_after(source, *stored) for source, stored in last.items() if stored}
    complaints = Complaints("resumed files")
    for source, start in starts.items():
        complaints.complain(f"{source!r} is resumed at line {start.line}")
    return starts


def _check(source: str, names: set[str]) -> None:
    if source == STANDARD_INPUT or not Path(source).is_file():
        raise CannotResume(f"cannot resume {source!r}: only files can be resumed")
    if shown(source) in names:
        raise CannotResume(f"cannot resume {source!r}: it is named twice")
    names.add(shown(source))


def _start_after(source: str, line: int, body: str) -> Start:
    """Return the start after a stored line; check that the file has this line."""
    with Path(source).open("rb") as file:
        last = deque(enumerate(islice(file, line), 1), maxlen=1)
        offset = file.tell()
    number, text = last[0] if last else (0, b"")
    if number < line:
        raise CannotResume(
            f"cannot resume {source!r}: it has {counted(number, 'line')}, "
            f"but line {line} is stored already"
        )
    found = _stripped(text).decode(errors="surrogateescape")
    if found != body:
        raise CannotResume(
            f"cannot resume {source!r}: its line {line} is {excerpt(found)}, "
            f"but the stored line is {excerpt(body)}"
        )
    return Start(line + 1, offset, text)


def _stripped(text: bytes) -> bytes:
    return text.removesuffix(b"\n").removesuffix(b"\r") if text.endswith(b"\n") else text
