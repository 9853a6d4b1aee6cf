"""Traffic."""

import time
from datetime import UTC, datetime

import pytest

from flushq.cli import traffic
from flushq.cli.traffic import model_arrivals, read_arrivals


@pytest.mark.parametrize(
    ("lines", "times"),
    [
        (["5", "5.5\n", "", "  7e0  "], [0, 0.5, 2]),
        (["-3", "-1", "-1"], [0, 2, 2]),
        (["2026-01-31T23:59:59.5", "2026-02-01"], [0, 0.5]),
        (["2026-01-01T12:00:00Z", "2026-01-01T13:00:30+01:00"], [0, 30]),
        (["2026-01-01T12:00:00", "2026-01-01T12:00:10Z"], [0, 10]),
    ],
)
def test_read(lines: list[str], times: list[float]) -> None:
    """A line is seconds or ISO 8601, of UTC unless it says otherwise; the first one is 0."""
    assert times == read_arrivals(lines)[0]


def test_a_time_without_a_zone_is_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the clock of the machine says does not matter."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        arrivals, began = read_arrivals(["2026-01-01T12:00:00", "2026-01-01T12:00:10Z"])
        assert ([0, 10], datetime(2026, 1, 1, 12, tzinfo=UTC)) == (arrivals, began)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_numbers_have_no_date() -> None:
    """Seconds are seconds of any clock."""
    assert ([0, 1], None) == read_arrivals(["1767268800", "1767268801"])


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([], "there are no arrivals"),
        (["", " "], "there are no arrivals"),
        (["1", "", "soon"], "line 3: 'soon' is neither seconds nor an ISO 8601 time"),
        (["nan"], "line 1: 'nan' is neither seconds nor an ISO 8601 time"),
        (["inf"], "line 1: 'inf' is neither seconds nor an ISO 8601 time"),
        (["9", "", "2026-01-01"], "line 3: '2026-01-01' is an ISO 8601 time, unlike what is above"),
        (["2026-01-01", "9"], "line 2: '9' is a number of seconds, unlike what is above"),
        (["0", "2", "1 "], "line 3: '1' is earlier than what is above"),
    ],
)
def test_cannot_read(lines: list[str], why: str) -> None:
    """What is no time, of another kind, or out of order, is refused with its place."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the message is looked at below
        read_arrivals(lines)
    assert why == str(refused.value)


def test_model() -> None:
    """A model has about as many items as it should, in order, and always the same."""
    times = model_arrivals(100, 50, 7)
    assert 4700 < len(times) < 5300
    assert sorted(times) == times
    assert 0 < times[0] < 0.5
    assert 49.5 < times[-1] < 50
    assert times == model_arrivals(100, 50, 7)
    assert times != model_arrivals(100, 50, 8)
    mean = sum(times) / len(times)
    assert 24 < mean < 26


@pytest.mark.parametrize(
    ("rate", "seconds", "why"),
    [
        (1e6, 100, "about 100000000 items are more than 10000000"),
        (1e-9, 1, "there are no arrivals"),
    ],
)
def test_no_model(rate: float, seconds: float, why: str) -> None:
    """Too many items, or none, are refused."""
    with pytest.raises(ValueError, match=f"^{why}$"):
        model_arrivals(rate, seconds, 1)


def test_as_many_as_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """The most items are not too many."""
    monkeypatch.setattr(traffic, "MOST_ITEMS", 50)
    assert model_arrivals(5, 10, 1)
    with pytest.raises(ValueError, match=r"^about 51 items are more than 50$"):
        model_arrivals(5.1, 10, 1)
