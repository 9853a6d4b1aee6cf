"""The texts of options; some bad numbers and files are in the tests of the commands."""

import math
import re
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
from flushq.cli.lab import Sink
from flushq.cli.params import POLICY_USAGE, check_not_same_file, parse_policy, parse_sink
from flushq.cli.terminal import Mistake
from flushq.cli.throttling import THROTTLE_USAGE, parse_throttle
from flushq.throttles import CircuitBreaker, RateLimit, Throttle

OWN = BudgetPolicy(7)
LONG = "+".join("1" * 1000)


def made(waits: list[float], records: dict[str, int]) -> IntervalPolicy:
    """Return a policy with the first wait and the cap ``most``."""
    return IntervalPolicy(waits[0], records["most"])


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
        (f"{__name__}:OWN", BudgetPolicy(7)),
        ("flushq:NaturalPolicy()", NaturalPolicy()),
        ("flushq:IntervalPolicy( 1e999, max_records=5)", IntervalPolicy(math.inf, 5)),
        (f"{__name__}:made([0.5], records={{'most': 7}})", IntervalPolicy(0.5, 7)),
    ],
)
def test_a_text_names_a_policy_and_its_arguments(text: str, policy: FlushPolicy) -> None:
    """A text names a policy, or a module and an object in it, with arguments."""
    assert policy == parse_policy(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", f"there is no policy of this name; the form is {POLICY_USAGE}"),
        ("sometimes", f"there is no policy of this name; the form is {POLICY_USAGE}"),
        ("intervall", "there is no policy of this name (did you mean 'interval'?); the form is "),
        ("natural_:", "there is no policy of this name (did you mean 'natural'?); the form is "),
        (":5", f"there is no policy of this name; the form is {POLICY_USAGE}"),
        (
            "intervall:1",
            "ModuleNotFoundError: No module named 'intervall' (did you mean 'interval'?); the form",
        ),
        ("sometimes:5", "ModuleNotFoundError: No module named 'sometimes'; the form is interval:"),
        (
            f"{__name__}:OWM",
            f"AttributeError: module {__name__!r} has no attribute 'OWM' (did you mean 'OWN'?)",
        ),
        ("math:e.g", "AttributeError: module 'math' has no attribute 'e.g'; the form"),
        (f"{__name__}:made({{}}, {{}})", "KeyError: 0; the form is interval:"),
        (f"{__name__}:made('', {{}})", "IndexError: string index out of range; the form is"),
        (f"{__name__}:OWN()", "TypeError: 'BudgetPolicy' object is not callable; the form is"),
        (
            "flushq:NaturalPolicy",
            "NaturalPolicy is a class, not a policy: write flushq:NaturalPolicy(...), with its arg",
        ),
        (
            f"{__name__}:made",
            "made is a function, not a policy: write tests.cli.test_params:made(...), wit",
        ),
        ("flushq:NaturalPolicy(0)", "ValueError: max_records must be at least 1, not 0; the form"),
        ("flushq:NaturalPolicy(most)", "the argument most must be a literal; the form is int"),
        ("flushq:NaturalPolicy(2*3)", "the argument 2*3 must be a literal; the form is"),
        (f"flushq:NaturalPolicy({LONG})", f"the argument {LONG} must be a literal; the form is"),
        ("flushq:NaturalPolicy(*[1])", "the argument *[1] must be a literal; the form is"),
        ("flushq:NaturalPolicy({[]})", "the argument {[]} must be a literal; the form is"),
        ("operator:abs(-1)", "abs(-1) is 1, not a policy; the form is interval:"),
        ("os:a.b('true')", "\"a.b('true')\" must be like NAME(ARGUMENT, ...); the form is int"),
        ("os:abs(1", "'abs(1' must be like NAME(ARGUMENT, ...); the form is interval:"),
        ("os:(1)", "'(1)' must be like NAME(ARGUMENT, ...); the form is interval:"),
        ("os:f(**{})", "'f(**{})' must not contain ** or give an argument twice; the form is"),
        ("os:f(a=1, a=2)", "'f(a=1, a=2)' must not contain ** or give an argument twice; the form"),
        ("interval:1,2,3", "it has 3 arguments; the form is interval:SECONDS[,RECORDS]"),
        ("alarm", "it has 0 arguments; the form is alarm:ITEM_SECONDS[,RECORDS]"),
        ("budget", "it has 0 arguments; the form is budget:ITEM_SECONDS[,RECORDS]"),
        ("interval", "it has 0 arguments; the form is interval:SECONDS[,RECORDS]"),
        ("interval:soon", "could not convert string to float: 'soon'"),
        ("interval:1,many", "invalid literal for int() with base 10: 'many'"),
        ("interval:0,500", "max_wait_seconds must be above 0, not 0.0"),
        ("natural:", "invalid literal for int() with base 10: ''"),
        ("natural:0", "max_records must be at least 1, not 0; the form is natural[:RECORDS]"),
        ("pause:1,2,3", "it has 3 arguments; the form is pause[:FLUSH_SECONDS[,RECORDS]]"),
    ],
)
def test_a_bad_policy_is_shown_with_the_reason(text: str, why: str) -> None:
    """The message shows the bad text, says why it is bad, and shows what is accepted."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the message is looked at below
        parse_policy(text)
    assert str(refused.value).startswith(f"bad policy {text!r}: {why}")


SHOWN = "import sys; POLICY = type('Other', (), {{'__repr__': lambda self: {}}})()"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("raise ValueError('two\\nlines')", "ValueError: two lines"),
        ("import sys; sys.exit(0)", "SystemExit: 0"),
        ("def policy(:", "SyntaxError: invalid syntax"),
        (SHOWN.format(r"'7\nor 8'"), "POLICY is 7 or 8, not a policy; the form is interval:"),
        (SHOWN.format("1 / 0"), "POLICY is <Other instance at .*>, not a policy;"),
        (SHOWN.format("sys.exit(0)"), r"the policy raised SystemExit\(0\); the form is interval:"),
    ],
)
def test_whatever_a_module_does_is_reported_in_one_line(
    source: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that raises or exits, also in a repr, is reported in one line."""
    (tmp_path / "own_policies.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_policies", raising=False)
    with pytest.raises(ValueError, match=rf"^bad policy 'own_policies:POLICY': {why}.*$"):
        parse_policy("own_policies:POLICY")


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
def test_a_sink_is_seconds_for_each_flush_and_for_each_item(text: str, sink: Sink) -> None:
    """A sink is seconds for each call, seconds for each item, or both."""
    assert sink == parse_sink(text)


BAD_SINKS = "|+|1+|+2n|n|1 2n|1+2|2n+1|-1|1+-2n|fast"


@pytest.mark.parametrize("text", BAD_SINKS.split("|"))
def test_a_bad_sink_is_shown(text: str) -> None:
    """The message shows the bad text and examples of good ones."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the message is looked at below
        parse_sink(text)
    assert f"bad sink {text!r}: it must be like 0.1, 0.01n or 0.1+0.01n" == str(refused.value)


@pytest.mark.parametrize("text", ["1e999", "1e999n", "1e13"])
def test_a_sink_that_takes_too_long_is_shown(text: str) -> None:
    """The message says that one item takes too long."""
    with pytest.raises(ValueError, match=f"bad sink '{text}': a call with one item must take"):
        parse_sink(text)


def test_a_file_has_one_purpose(here: Path) -> None:
    """A file must not serve two options, even under two names; other files do not matter."""
    Path("x").touch()
    Path("link").symlink_to("x")
    check_not_same_file("--plot", "y", "x", "z")
    with pytest.raises(Mistake, match=r"^--plot must not be the same file as 'link'$"):
        check_not_same_file("--plot", "./x", "y", "link")


@pytest.mark.parametrize(
    ("text", "throttle"),
    [
        ("rate:10/1.0", RateLimit(10, 1.0)),
        ("breaker:5/30", CircuitBreaker(5, 30.0)),
        (None, None),
    ],
)
def test_a_text_makes_its_throttle(text: str | None, throttle: Throttle | None) -> None:
    """A text gives a name, a number of calls and seconds; None means no throttle."""
    assert throttle == parse_throttle(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", f": it must be {THROTTLE_USAGE}"),
        ("rate", f": it must be {THROTTLE_USAGE}"),
        ("rate:10", f": it must be {THROTTLE_USAGE}"),
        ("limit:10/1", f": it must be {THROTTLE_USAGE}"),
        ("braker:5/30", f" (did you mean 'breaker'?): it must be {THROTTLE_USAGE}"),
        ("rate:0/1", "calls must be at least 1, not 0"),
        ("rate:1.5/1", "invalid literal for int"),
        ("breaker:5/inf", "seconds must be finite, not inf"),
    ],
)
def test_a_bad_throttle_is_refused(text: str, why: str) -> None:
    """The message shows the bad text, says why it is bad, and shows what is accepted."""
    with pytest.raises(ValueError, match=f"^bad throttle '{re.escape(text)}'") as caught:
        parse_throttle(text)
    assert why in str(caught.value)
    assert THROTTLE_USAGE in str(caught.value)
