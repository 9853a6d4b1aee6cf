"""Functions that search, with Hypothesis, for the smallest input that fails a check."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky

from flushq.testing.laws import LawBroken

H = TypeVar("H")


def search(examples: int, check: Callable[..., None], **drawn: st.SearchStrategy[Any]) -> None:
    """Search for values that fail a check.

    Args:
        examples: How many times values are drawn and checked.
        check: A function that raises LawBroken if the values fail.
        **drawn: For each argument of ``check``, the strategy that draws the value.

    Raises:
        LawBroken: The error of the smallest values that were found to fail.
    """
    found: list[LawBroken] = []

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.target, Phase.shrink),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType] - an iterable class
    )
    @given(**drawn)
    def run(**values: Any) -> None:
        try:
            check(**values)
        except LawBroken as broken:
            found.append(broken)
            raise

    try:
        run()
    except (LawBroken, Flaky):
        smallest = found[-1]
        smallest.__notes__ = []
        raise smallest from smallest.__cause__


def search_histories(
    examples: int,
    check: Callable[[H], None],
    fewer: Callable[[H], Iterable[H]],
    histories: st.SearchStrategy[H],
) -> None:
    """Search for a history that fails a check.

    Args:
        examples: The number of histories to try.
        check: A function that raises LawBroken if a history fails.
        fewer: A function that returns smaller versions of a history.
        histories: The strategy that draws the histories.

    Raises:
        LawBroken: The error of the smallest history that was found to fail.
    """
    failing: list[H] = []

    def noting(history: H) -> None:
        try:
            check(history)
        except LawBroken:
            failing.append(history)
            raise

    try:
        search(examples, noting, history=histories)
    except LawBroken as broken:
        smallest = _smallest(check, fewer, failing[-1], broken)
        raise smallest from smallest.__cause__


def _smallest(
    check: Callable[[H], None], fewer: Callable[[H], Iterable[H]], history: H, broken: LawBroken
) -> LawBroken:
    """Make a failing history smaller while it still fails; return the last LawBroken."""
    for smaller in fewer(history):
        try:
            check(smaller)
        except LawBroken as still:
            return _smallest(check, fewer, smaller, still)
    return broken
