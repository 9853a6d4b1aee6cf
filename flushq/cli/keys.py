"""What makes two lines duplicates: the same value in a field of a JSON line."""

import json

import attrs

from flushq.cli.lines import Row

_SHOWN = 60


class BadLine(ValueError):
    """A line that has no key; the message says why, and shows it."""


@attrs.frozen
class JsonField:
    """The key of a line is its value in this field, whatever the value is, as canonical text.

    Raises:
        ValueError: The name is empty.
    """

    name: str

    def __attrs_post_init__(self) -> None:
        if not self.name:
            raise ValueError("the name of a field is not empty")

    def __call__(self, row: Row) -> str:
        """Find the key.

        Raises:
            BadLine: The line is no JSON object, or lacks the field.
        """
        text = row[2]
        value = _parse(text)
        if not isinstance(value, dict):
            raise BadLine(f"not a JSON object: {_excerpt(text)}")
        if self.name not in value:
            raise BadLine(f"lacks the field {self.name!r}: {_excerpt(text)}")
        return _canonical(value[self.name])


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is no JSON number")


_decode = json.JSONDecoder(parse_constant=_refuse).decode
_canonical = json.JSONEncoder(sort_keys=True).encode


def _parse(text: str) -> object:
    try:
        return _decode(text)
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at column {error.colno}"
    except (ValueError, RecursionError) as error:
        reason = str(error)
    raise BadLine(f"not JSON ({reason}): {_excerpt(text)}")


def _excerpt(text: str) -> str:
    return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}..."
