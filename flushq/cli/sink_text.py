"""Sinks as text: ``0.02+0.0001n`` takes 0.02 s for a flush, and 0.0001 s more for each item."""

import re

import attrs

from flushq.cli.options import LARGEST

_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_TEXT = re.compile(rf"(?:({_NUMBER})(?:\+|$))?(?:({_NUMBER})n)?")

USAGE = "SECONDS, SECONDSn or SECONDS+SECONDSn"


@attrs.frozen
class Sink:
    """How long a flush takes.

    Attributes:
        fixed: Seconds for a flush, however small.
        each: Seconds for each item in it.
    """

    fixed: float
    each: float

    def __call__(self, size: int) -> float:
        """How long a flush of so many items takes, in seconds."""
        return self.fixed + self.each * size


def parse_sink(text: str) -> Sink:
    """Make the sink that a text describes.

    Raises:
        ValueError: The text describes none; the message shows it.
    """
    found = _TEXT.fullmatch(text)
    sink = Sink(*(float(number or 0) for number in found.groups())) if found else None
    if not text or text.endswith("+") or sink is None or sink(1) > LARGEST:
        raise ValueError(f"bad sink {text!r}: it must be {USAGE}")
    return sink
