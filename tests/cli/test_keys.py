"""What makes two lines duplicates."""

import pytest

from flushq.cli.table import BadLine, JsonField

key = JsonField("id")


def key_of(text: str) -> str:
    """The key of a line."""
    return key(("x", 1, text))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('{"id": 1}', '{"a": 2, "id":1}'),
        ('{"id": "\\u0061"}', '{"id": "a"}'),
        ('{"id": {"a": 1, "b": [2, null]}}', '{"id": {"b": [2,null], "a": 1}}'),
    ],
)
def test_same(one: str, other: str) -> None:
    """Lines have the same key if the field has the same value, however it is written."""
    assert key_of(one) == key_of(other)


def test_different() -> None:
    """Values of different kinds are different, also where Python holds them for equal."""
    values = ["1", '"1"', "true", "null", "[1]", '{"a": 1}', '""', "0", "false"]

    assert len(values) == len({key_of(f'{{"id": {value}}}') for value in values})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not JSON (Expecting value at column 1): ''"),
        ("{'id': 1}", "not JSON (Expecting property name enclosed in double quotes at column 2)"),
        ('{"id": NaN}', "not JSON (NaN is no JSON number): '{\"id\": NaN}'"),
        ('{"id": ' + "9" * 5000 + "}", "not JSON (Exceeds the limit (4300 digits) for integer"),
        ("[" * 100_000, "not JSON ("),
        ("[1]", "not a JSON object: '[1]'"),
        ('"id"', "not a JSON object: '\"id\"'"),
        ('{"ID": 1}', "lacks the field 'id': '{\"ID\": 1}'"),
    ],
)
def test_no_key(text: str, why: str) -> None:
    """A line that is no JSON object with the field has no key, and the message says why."""
    with pytest.raises(BadLine) as refused:
        key_of(text)

    assert str(refused.value).startswith(why)


def test_no_field() -> None:
    """A field has a name."""
    with pytest.raises(ValueError, match="the name of a field is not empty"):
        JsonField("")


def test_excerpt() -> None:
    """Of a long line a message shows the beginning."""
    with pytest.raises(BadLine) as refused:
        key_of("x" * 1000)

    assert f"not JSON (Expecting value at column 1): '{'x' * 60}'..." == str(refused.value)
