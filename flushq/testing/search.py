"""The search for the smallest input that fails a check, with Hypothesis."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky

from flushq.testing.laws import LawBroken

H = TypeVar("H")


def search(examples: int, check: Callable[..., None], **drawn: st.SearchStrategy[Any]) -> None:
    """Search for drawn values that fail a check, and raise the LawBroken of the smallest ones."""
    found: list[LawBroken] = []

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.target, Phase.shrink),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType] - its metaclass
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
    """Search for a history that fails a check, and raise the LawBroken of the smallest one.

    Args:
        examples: The number of histories to try.
        check: A function that raises LawBroken if a history fails.
        fewer: A function that returns smaller versions of a history.
        histories: The strategy that draws the histories.
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
    """Make a history smaller as long as it fails; return the LawBroken of the last one."""
    for smaller in fewer(history):
        try:
            check(smaller)
        except LawBroken as still:
            return _smallest(check, fewer, smaller, still)
    return broken
