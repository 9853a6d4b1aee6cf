"""A batch records its calls and its end, and then drops its items."""

from typing import Any

from tests.core.support import batch_of
from tests.strategies import Refusal


def test_each_call_gets_a_list_of_its_own() -> None:
    """Calls are counted, and changes of flush_fn to its list do not change the batch."""
    batch = batch_of(1, 2)
    assert not batch.called
    batch.call(batch.items).clear()
    assert [2] == batch.call([2])
    assert (True, 2, [1, 2]) == (batch.called, batch.attempts, batch.items)


def test_a_report_tells_the_error_or_the_last_drop() -> None:
    """Dropped and lost items do not count as delivered; an error comes before those of drops."""
    batch, first, second, last = (
        batch_of(1, 2, 3, 4, started=2.0),
        Refusal("1"),
        Refusal("2"),
        Refusal("3"),
    )
    batch.conclude(None, {0: first, 2: second}, {}, [])
    report = batch.report()
    assert (second, 2, 2) == (report.error, report.delivered, report.dropped)
    batch.conclude(last, {0: first, 2: second}, {3: last}, [3])
    report = batch.report()
    assert (last, 1, 2, 2.0) == (report.error, report.delivered, report.dropped, report.waited)


def test_a_batch_lets_go() -> None:
    """A batch that forgets clears its items and exceptions, also for others that share them."""
    batch = batch_of(1, 2, 3)
    held: list[Any] = [batch.items, {0: Refusal()}, {1: Refusal()}]
    batch.conclude(Refusal("lost"), held[1], held[2], [1])
    batch.forget()
    assert [[], {}, {}] == held == [batch.items, batch.dropped, batch.failed]
    assert batch.error is None
