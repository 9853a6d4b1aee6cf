"""Going on where an ingestion has ended early: behind the last line of each file that is stored.

Theory of operation. One batch is written at a time, in one transaction, and in the order in which
its lines were read; so are the parts of a batch that is split. So when a line is stored, every line
above it in its file has met its end: it is stored, a duplicate, ignored, skipped or a dead letter.
What is behind the last stored line is read again. Such a line may have met its end too, but not by
being stored: it is ignored or skipped as before, or it is refused again, and the dead-letter file
does not take its letter twice. Thus it does not matter at which moment an ingestion was killed.

That a file has become another one (it was rotated, say) shows in the last line that is stored. It
is looked at before anything is read, and again when the turn of the file comes.
"""

from collections import deque
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from flushq.cli.reading import STANDARD_INPUT, Start, shown
from flushq.cli.table import Table, excerpt
from flushq.cli.terminal import Complaints, counted


class CannotResume(Exception):
    """Where a source is to be resumed is not known, and nothing was read."""


async def find_starts(sources: Iterable[str], table: Table) -> dict[str, Start]:
    """Find where to begin the sources of which a line is stored; open the table for that.

    Raises:
        CannotResume: A source is not a file, or is named twice; or it is shorter than what is
            stored of it, or its line is another one.
        CannotOpen: The table cannot be opened or read.
    """
    names = set[str]()
    for source in sources:
        _check(source, names)
    async with table:
        last = {source: await table.last_line(shown(source)) for source in sources}
    starts = {source: _behind(source, *stored) for source, stored in last.items() if stored}
    told = Complaints("files that are resumed")
    for source, start in starts.items():
        told.complain(f"{source!r} is resumed at line {start.line}")
    return starts


def _check(source: str, names: set[str]) -> None:
    if source == STANDARD_INPUT or not Path(source).is_file():
        raise CannotResume(f"cannot resume {source!r}: only a file can be read again")
    if shown(source) in names:
        raise CannotResume(f"cannot resume {source!r}: it is named twice")
    names.add(shown(source))


def _behind(source: str, line: int, body: str) -> Start:
    """Where the lines begin that come after this one."""
    with Path(source).open("rb") as file:
        last = deque(enumerate(islice(file, line), 1), maxlen=1)
        offset = file.tell()
    number, text = last[0] if last else (0, b"")
    if number < line:
        raise CannotResume(
            f"cannot resume {source!r}: it has {counted(number, 'line')}, "
            f"and line {line} of it is stored"
        )
    found = _stripped(text).decode(errors="surrogateescape")
    if found != body:
        raise CannotResume(
            f"cannot resume {source!r}: line {line} of it is {excerpt(found)}, "
            f"and stored is {excerpt(body)}"
        )
    return Start(line + 1, offset, text)


def _stripped(text: bytes) -> bytes:
    return text.removesuffix(b"\n").removesuffix(b"\r") if text.endswith(b"\n") else text
