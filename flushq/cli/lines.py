"""Bytes to lines.

A line ends with LF, CRLF, or the source. Every line counts, an empty one too, from 1 in each
source. A line that is not UTF-8 takes no other with it.
"""

from collections.abc import Sequence
from itertools import count, repeat

import attrs

Row = tuple[str, int, str]


@attrs.frozen
class Skipped:
    """A line that cannot be stored, and why."""

    source: str
    line: int
    reason: str

    def __str__(self) -> str:
        """What to tell the user."""
        return f"skipped line {self.line} of {self.source!r}: {self.reason}"


@attrs.frozen
class Chunk:
    """Lines that were read at once: source, number and text of each, and those that are no text."""

    rows: Sequence[Row] = ()
    skipped: Sequence[Skipped] = ()

    def __len__(self) -> int:
        """How many lines there are."""
        return len(self.rows) + len(self.skipped)


@attrs.define
class Splitter:
    """Cuts the blocks of bytes of one source into lines."""

    source: str
    _number: int = attrs.field(default=1, init=False)
    _open: list[bytes] = attrs.field(factory=list, init=False)

    def feed(self, block: bytes) -> Chunk:
        """Take the next block, an empty one at the end; return the lines that end in it."""
        cut = block.rfind(b"\n") + 1
        if block and not cut:
            self._open.append(block)
            return Chunk()
        lines = b"".join([*self._open, block[:cut]])
        self._open = [block[cut:]]
        return self._chunk(lines.replace(b"\r\n", b"\n")) if lines else Chunk()

    def _chunk(self, lines: bytes) -> Chunk:
        lines = lines.removesuffix(b"\n")
        try:
            bodies = lines.decode().split("\n")
        except UnicodeDecodeError:
            return self._sift(lines.split(b"\n"))
        rows = list(zip(repeat(self.source), count(self._number), bodies, strict=False))
        self._number += len(rows)
        return Chunk(rows)

    def _sift(self, lines: list[bytes]) -> Chunk:
        rows, skipped = [], []
        for number, line in enumerate(lines, self._number):
            try:
                rows.append((self.source, number, line.decode()))
            except UnicodeDecodeError as error:
                skipped.append(Skipped(self.source, number, f"not UTF-8: {error}"))
        self._number += len(lines)
        return Chunk(rows, skipped)
