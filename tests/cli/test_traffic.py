"""The traffic of the lab: from a file and from a model."""

import time
from collections import Counter

import pytest

from flushq.cli import traffic
from flushq.cli.traffic import (
    Traffic,
    model_arrivals,
    model_partitions,
    model_weights,
    read_traffic,
)


@pytest.mark.parametrize(
    ("lines", "times", "began"),
    [
        (["5", "5.5\n", "", "  7e0  "], [0, 0.5, 2], None),
        (["-3", "-1", "-1"], [0, 2, 2], None),
        (["2026-01-31T23:59:59.5", "2026-02-01"], [0, 0.5], "2026-01-31 23:59:59.500000+00:00"),
        (["2026-01-01T12:00+01:00", "2026-01-01T11:00:30Z"], [0, 30], "2026-01-01 11:00:00+00:00"),
        (["2026-01-01T12:00", "2026-01-01T12:00:10Z"], [0, 10], "2026-01-01 12:00:00+00:00"),
    ],
)
def test_a_line_of_traffic_is_seconds_or_iso_8601(
    lines: list[str], times: list[float], began: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Times count from the first one; a time without a zone is UTC, whatever the local zone is."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        found = read_traffic(lines)
        assert Traffic(times, found.began) == found
        assert began == (found.began and str(found.began))
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["", " "], "there are no arrivals"),
        (["1", "", "soon"], "line 3: 'soon' must be seconds or an ISO 8601 time"),
        (["nan"], "line 1: 'nan' must be seconds or an ISO 8601 time"),
        (["inf"], "line 1: 'inf' must be seconds or an ISO 8601 time"),
        (["9", "2026-01-01"], "line 2: '2026-01-01' is an ISO 8601 time, unlike the lines above"),
        (["2026-01-01", "", "9"], "line 3: '9' is a number of seconds, unlike the lines above"),
        (["1\ta", "2\t"], "line 2: '2' has no key after a tab, unlike the lines above"),
        (["1", "2\ta"], r"line 2: '2\ta' has a key after a tab, unlike the lines above"),
        (["0", "2", "1 "], "line 3: '1' is earlier than the line above"),
    ],
)
def test_bad_traffic_is_refused_with_its_place(lines: list[str], why: str) -> None:
    """A line that is no time, of another kind, or out of order is refused with its number."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the message is looked at below
        read_traffic(lines)
    assert why == str(refused.value)


def test_what_follows_after_a_tab_is_the_key_of_a_partition() -> None:
    """Spaces around the key do not count; both kinds of times can have keys."""
    keyed = read_traffic(["2026-01-01 12:00:00\ta", "2026-01-01 12:00:01 \t b c\td\n"])
    assert ([0, 1], ["a", "b c\td"]) == (keyed.arrivals, keyed.partitions)
    assert keyed.began is not None
    assert Traffic([0, 2], partitions=["7", "7"]) == read_traffic(["1\t7", "3\t7"])


def test_a_model_has_as_many_items_as_it_should() -> None:
    """The times are in order, evenly spread, and the same for the same seed."""
    times = model_arrivals(100, 50, 7)
    assert 4700 < len(times) < 5300
    assert sorted(times) == times
    assert 0 < times[0] < 0.5
    assert 49.5 < times[-1] < 50
    assert 24 < sum(times) / len(times) < 26
    assert times == model_arrivals(100, 50, 7)
    assert times != model_arrivals(100, 50, 8)


def test_a_model_of_too_many_items_or_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest number of items is still accepted."""
    monkeypatch.setattr(traffic, "MOST_ITEMS", 50)
    assert model_arrivals(5, 10, 1)
    with pytest.raises(ValueError, match=r"^there must be at most 50 items, not about 51$"):
        model_arrivals(5.1, 10, 1)
    with pytest.raises(ValueError, match=r"^there are no arrivals: .* is too small$"):
        model_arrivals(1e-9, 1, 1)


@pytest.mark.parametrize(("skew", "shares"), [(0, [250] * 4), (1, [480, 240, 160, 120])])
def test_partitions_of_a_model_follow_the_law_of_zipf(skew: float, shares: list[int]) -> None:
    """The frequencies follow Zipf's law; the partitions are the same for the same seed."""
    keys = model_partitions(100_000, 4, skew, 7)
    counts = Counter(keys)
    assert [1, 2, 3, 4] == sorted(counts)
    assert shares == pytest.approx([counts[key] / 100 for key in range(1, 5)], abs=5)
    assert keys == model_partitions(100_000, 4, skew, 7)
    assert keys != model_partitions(100_000, 4, skew, 8)


def test_weights_of_a_model_are_even() -> None:
    """Weights are uniform from 0 to twice the mean, and the same for the same seed."""
    weights = model_weights(100_000, 3, 7)
    quarters = Counter(int(weight / 1.5) for weight in weights)
    assert [25_000] * 4 == pytest.approx([quarters[number] for number in range(4)], abs=500)
    assert weights == model_weights(100_000, 3, 7)
    assert weights != model_weights(100_000, 3, 8)
