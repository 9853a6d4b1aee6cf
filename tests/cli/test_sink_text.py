"""Sinks as text."""

import pytest

from flushq.cli.lab import Sink
from flushq.cli.params import parse_sink


@pytest.mark.parametrize(
    ("text", "sink"),
    [
        ("0.02+0.0001n", Sink(0.02, 0.0001)),
        ("0.02", Sink(0.02, 0)),
        ("50.1n", Sink(0, 50.1)),
        (".5+2n", Sink(0.5, 2)),
        ("1e-3+2.E-06n", Sink(0.001, 2e-6)),
        ("0", Sink(0, 0)),
        ("1e12", Sink(1e12, 0)),
        ("6e11n", Sink(0, 6e11)),
    ],
)
def test_good(text: str, sink: Sink) -> None:
    """A text is a number for each flush, one for each item, or both."""
    assert sink == parse_sink(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "1+",
        "+2n",
        "n",
        "1 2n",
        "1+2",
        "2n+1",
        "-1",
        "1+-2n",
        "fast",
        "1e999",
        "1e999n",
        "1e13",
    ],
)
def test_bad(text: str) -> None:
    """A bad text is refused by a message that shows it and says what it must be."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the message is looked at below
        parse_sink(text)
    usage = "SECONDS, SECONDSn or SECONDS+SECONDSn"
    assert f"bad sink {text!r}: it must be {usage}" == str(refused.value)


def test_how_long_a_flush_takes() -> None:
    """A flush takes the fixed time and its share for each item."""
    assert 0.5 + 4 * 0.25 == parse_sink("0.5+0.25n")(4)
