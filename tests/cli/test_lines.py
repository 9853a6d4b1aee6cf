"""Bytes to lines."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from flushq.cli.reading import Chunk, Row, Skipped, Splitter

PIECES = st.sampled_from([b"a", b"\n", b"\r", b"\r\n", "é".encode(), b"\xc3", b"\xff", b"\0"])


def split(*blocks: bytes) -> list[Chunk]:
    """The chunks that blocks, and the end after them, bring."""
    splitter = Splitter("x")
    return [splitter.feed(block) for block in (*blocks, b"")]


def lines(*blocks: bytes) -> list[Row | Skipped]:
    """All lines that blocks bring, good or bad, in order."""
    chunks = split(*blocks)
    found: list[Row | Skipped] = []
    for chunk in chunks:
        found += [*chunk.rows, *chunk.skipped]
    return sorted(found, key=lambda line: line.line if isinstance(line, Skipped) else line[1])


def bodies(*blocks: bytes) -> list[str]:
    """The text of all good lines."""
    return [row[2] for chunk in split(*blocks) for row in chunk.rows]


def test_endings() -> None:
    """LF and CRLF end a line and are not part of it; a CR elsewhere is."""
    assert ["a", "b", "", "\rc\r", "d\r"] == bodies(b"a\nb\r\n\n\rc\r\r\nd\r")


def test_the_end_ends_a_line() -> None:
    """A last line without an ending is a line, but after the last ending there is none."""
    assert ["a", "b"] == bodies(b"a\nb")
    assert ["a", "b"] == bodies(b"a\nb\n")
    assert [] == bodies()


def test_as_soon_as_it_ends() -> None:
    """A block brings the lines that end in it, and no line waits for another."""
    assert [["a", "b"], [], ["cd"], ["e"]] == [
        [row[2] for row in chunk.rows] for chunk in split(b"a\nb\nc", b"d", b"\ne")
    ]


def test_numbers() -> None:
    """Every line counts, empty, bad or good, from 1."""
    assert [("x", 1, "a"), ("x", 3, ""), ("x", 4, "b")] == [
        line for line in lines(b"a\n\xff\n", b"\nb\n") if isinstance(line, tuple)
    ]


def test_not_utf_8() -> None:
    """A line that is not UTF-8 is skipped, and says where it is bad; those around it are good."""
    chunk = split(b"good\ncaf\xe9 x\nfine\n")[0]

    assert [("x", 1, "good"), ("x", 3, "fine")] == chunk.rows
    [skipped] = chunk.skipped
    assert (
        "skipped line 2 of 'x': not UTF-8: "
        "'utf-8' codec can't decode byte 0xe9 in position 3: invalid continuation byte"
    ) == str(skipped)
    assert 3 == len(chunk)


def test_a_very_long_line() -> None:
    """A line may be as long as it likes."""
    block = b"x" * 65_536

    assert ["x" * 65_536 * 1_000, "y"] == bodies(*[block] * 1_000, b"\ny")


@given(st.lists(PIECES).map(b"".join), st.sets(st.integers(0, 40)))
def test_blocks_do_not_matter(text: bytes, cuts: set[int]) -> None:
    """However the bytes come, the lines are the same: those of a naive splitting."""
    edges = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    blocks = [text[start:end] for start, end in pairwise(edges)]
    naive = [line.removesuffix(b"\r") for line in text.split(b"\n")]
    naive[-1] = text.rpartition(b"\n")[2]
    expected = [line.decode(errors="ignore") for line in naive[: len(naive) - (not naive[-1])]]

    found = lines(*blocks)

    assert list(range(1, len(expected) + 1)) == [
        line.line if isinstance(line, Skipped) else line[1] for line in found
    ]
    for line in found:
        if isinstance(line, tuple):
            assert expected[line[1] - 1] == line[2]
