"""The results of the lab, as a table and as JSON."""

import json
import math

import attrs
import pytest

from flushq import Decision, Flush, FlushPolicy, IntervalPolicy, NaturalPolicy
from flushq.cli.report import as_json, as_table, duration
from tests.cli.test_lab import FULL, KEYED, NOTHING, PARTITIONED, STRANDED, run_of


def test_the_table_has_a_row_for_each_run() -> None:
    """The table has rounded figures, and its last column shows the reasons."""
    lines = as_table([FULL, STRANDED, NOTHING]).splitlines()
    assert [
        ["policy", "flushes", "mean", "largest", "p50", "p95", "p99", "max", "busy", "cost"],
        ["IntervalPolicy", "3", "1.3", "2", "2.5", "s", "6", "s", "6", "s"],
        ["IntervalPolicy", "1", "3.0", "3", "3", "s", "4", "s", "4", "s"],
        ["IntervalPolicy", "0", "0.0", "0", "-", "-", "-", "-", "0%", "0"],
    ] == [line.split()[:10] for line in lines]
    assert lines[0].endswith("busy   cost   x least cost   why it flushed")
    assert lines[1].endswith("25%     31           3.10   age 2, full 1")
    assert lines[2].endswith("  -   full 1, 1 item not flushed")
    assert lines[3].endswith("  -   4 items not flushed")


def test_a_reason_is_shown_as_it_is() -> None:
    """A reason is not interpreted as styles or emojis."""

    class Styled(FlushPolicy):
        def decide(self, now: float) -> Decision:
            return Flush("[bold]:smile:[/nothing]")

    assert as_table([run_of(Styled())]).endswith("   [bold]:smile:[/nothing] 4")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 ms"),
        (0.99949, "999 ms"),
        (0.9996, "1 s"),
        (1.0449, "1.04 s"),
        (1234.5, "1230 s"),
        (4e9, "4000000000 s"),
        (math.nan, "-"),
    ],
)
def test_a_time_has_three_digits_and_a_unit(seconds: float, text: str) -> None:
    """A time below a second is in milliseconds; no time is in powers of ten."""
    assert text == duration(seconds)


def test_the_json_has_all_figures() -> None:
    """The figures in JSON are not rounded."""
    text = as_json([FULL, NOTHING])
    full, nothing = json.loads(text)
    assert text.startswith('[\n  {\n    "policy": ')
    assert {
        "policy": "IntervalPolicy",
        "items": 4,
        "stranded": 0,
        "flushes": 3,
        "mean_batch": 4 / 3,
        "largest_batch": 2,
        "latency_seconds": {"p50": 2.5, "p95": 6.0, "p99": 6.0, "max": 6.0},
        "busy": 0.25,
        "cost": 31.0,
        "least_cost": 10.0,
        "ratio": 3.1,
        "reasons": {"age": 2, "full": 1},
    } == full
    assert dict.fromkeys(["p50", "p95", "p99", "max"]) == nothing["latency_seconds"]
    names = ("stranded", "flushes", "mean_batch", "ratio")
    assert (4, 0, 0.0, None) == tuple(nothing[name] for name in names)


def test_partitions_have_columns_and_figures() -> None:
    """There are the p99 and the name of the slowest partition, and the p99 of all others."""
    nothing = run_of(IntervalPolicy(math.inf, 9), KEYED)
    one = run_of(NaturalPolicy(), attrs.evolve(KEYED, partitions=["a partition of all items"] * 4))
    page = as_table([PARTITIONED, nothing, one])
    assert "max   others p99              slowest p99   busy" in page
    assert "6.5 s          6 s                6.5 s (b)    25%" in page
    assert "    -            -                        -     0%" in page
    assert "  1 s            -   1 s (a partition o...)    44%" in page
    found = [each["slowest"] for each in json.loads(as_json([PARTITIONED, nothing]))]
    assert {"partition": "b", "p99": 6.5, "others_p99": 6} == found[0]
    assert {"partition": None, "p99": None, "others_p99": None} == found[1]
