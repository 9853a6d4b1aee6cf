"""Policies as text."""

import math
import sys
from pathlib import Path

import pytest

from flushq import (
    AlarmPolicy,
    BudgetPolicy,
    FlushPolicy,
    IntervalPolicy,
    NaturalPolicy,
    PausePolicy,
)
from flushq.cli.params import POLICY_USAGE as USAGE
from flushq.cli.params import parse_policy, staying

OWN = BudgetPolicy(7)
NUMBER = 7


class Tall:
    """An object that takes two lines to show."""

    def __repr__(self) -> str:
        """Take two lines."""
        return "7\nor 8"


class Shy:
    """An object that leaves the program when it is shown for the first time."""

    shown = False

    def __repr__(self) -> str:
        """Leave, as if all were well."""
        if not self.shown:
            self.shown = True
            sys.exit(0)
        return "shy"


TALL = Tall()


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("interval:2.0,500", IntervalPolicy(2.0, 500)),
        ("interval:0.5", IntervalPolicy(0.5)),
        ("interval:inf,10", IntervalPolicy(math.inf, 10)),
        ("natural", NaturalPolicy()),
        ("natural:1000", NaturalPolicy(1000)),
        ("budget:1.5", BudgetPolicy(1.5)),
        ("budget:1.5,100", BudgetPolicy(1.5, 100)),
        ("alarm:1.5", AlarmPolicy(1.5)),
        ("alarm:1.5,100", AlarmPolicy(1.5, max_records=100)),
        ("pause", PausePolicy()),
        ("pause:0.02", PausePolicy(0.02)),
        ("pause:0.02,100", PausePolicy(0.02, 100)),
        ("tests.cli.test_params:OWN", BudgetPolicy(7)),
    ],
)
def test_good(text: str, policy: FlushPolicy) -> None:
    """A text names a policy and its arguments."""
    assert policy == parse_policy(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", f"it must be {USAGE}"),
        ("sometimes", f"it must be {USAGE}"),
        (":5", f"it must be {USAGE}"),
        ("sometimes:5", f"ModuleNotFoundError: No module named 'sometimes'; it must be {USAGE}"),
        ("tests.cli.test_params:NOBODY", "AttributeError: module 'tests.cli"),
        ("tests.cli.test_params:NUMBER", f"NUMBER is no policy but 7; it must be {USAGE}"),
        ("tests.cli.test_params:TALL", f"TALL is no policy but 7 or 8; it must be {USAGE}"),
        (
            "flushq:NaturalPolicy",
            "NaturalPolicy is a class: write POLICY = NaturalPolicy() below it, and name that",
        ),
        ("alarm", "0 arguments; it must be alarm:ITEM_SECONDS[,RECORDS]"),
        ("budget", "0 arguments; it must be budget:ITEM_SECONDS[,RECORDS]"),
        ("budget:0", "item_seconds must be above 0, not 0.0"),
        ("pause:1,2,3", "3 arguments; it must be pause[:FLUSH_SECONDS[,RECORDS]]"),
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


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("raise ValueError('two\\nlines')", "ValueError: two lines"),
        ("import sys; sys.exit(0)", "SystemExit: 0"),
        ("def policy(:", "SyntaxError: invalid syntax"),
    ],
)
def test_a_module_that_cannot_be_imported(
    source: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a module does instead of being imported is told in one line."""
    (tmp_path / "own_policies.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_policies", raising=False)
    with pytest.raises(ValueError, match=rf"^bad policy 'own_policies:POLICY': {why}.*$"):
        parse_policy("own_policies:POLICY")


def test_an_object_that_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that would leave the program, instead of being looked at, is told in one line."""
    monkeypatch.setattr(sys.modules[__name__], "NUMBER", Shy())

    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the message is looked at below
        parse_policy(f"{__name__}:NUMBER")

    assert str(refused.value) == (
        f"bad policy '{__name__}:NUMBER': the policy raised SystemExit(0); it must be {USAGE}"
    )


def test_staying() -> None:
    """Only what would leave the program becomes another error; the rest goes on as it is."""
    with pytest.raises(OSError, match=r"^the policy raised SystemExit\(3\)$"), staying(OSError):
        sys.exit(3)
    with pytest.raises(KeyError), staying(OSError):
        raise KeyError
    with staying(OSError):
        pass


def test_usage() -> None:
    """The usage has all forms."""
    assert (
        "interval:SECONDS[,RECORDS], natural[:RECORDS], budget:ITEM_SECONDS[,RECORDS], "
        "alarm:ITEM_SECONDS[,RECORDS], pause[:FLUSH_SECONDS[,RECORDS]] or MODULE:NAME"
    ) == USAGE
