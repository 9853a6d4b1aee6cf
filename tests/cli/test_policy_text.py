"""Policies as text."""

import math

import pytest

from flushq import FlushPolicy, IntervalPolicy, NaturalPolicy
from flushq.cli.policy_text import parse_policy


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("interval:2.0,500", IntervalPolicy(2.0, 500)),
        ("interval:0.5", IntervalPolicy(0.5)),
        ("interval:inf,10", IntervalPolicy(math.inf, 10)),
        ("natural", NaturalPolicy()),
        ("natural:1000", NaturalPolicy(1000)),
    ],
)
def test_good(text: str, policy: FlushPolicy) -> None:
    """A text names a policy and its arguments."""
    assert policy == parse_policy(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it must be interval:SECONDS[,RECORDS] or natural[:RECORDS]"),
        ("sometimes", "it must be interval:SECONDS[,RECORDS] or natural[:RECORDS]"),
        ("interval", "0 arguments; it must be interval:SECONDS[,RECORDS]"),
        ("interval:1,2,3", "3 arguments; it must be interval:SECONDS[,RECORDS]"),
        ("interval:soon", "could not convert string to float: 'soon'"),
        ("interval:1,many", "invalid literal for int() with base 10: 'many'"),
        ("interval:0,500", "max_wait_seconds must be above 0, not 0.0"),
        ("interval:nan,500", "max_wait_seconds must be"),
        ("natural:", "invalid literal for int() with base 10: ''"),
        ("natural:0", "max_records must be at least 1, not 0"),
        ("natural:1.5", "invalid literal for int() with base 10: '1.5'"),
    ],
)
def test_bad(text: str, why: str) -> None:
    """A bad text is refused by a message that shows it and says why."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the message is looked at below
        parse_policy(text)

    assert str(refused.value).startswith(f"bad policy {text!r}: {why}")
