"""The scenarios of a file, and the tests that run each of them with both drivers."""

from collections.abc import Callable

import pytest

from tests.threads.worlds import Scenario, run_aio, run_threads

Test = Callable[[Scenario], None]


class Scenarios:
    """A decorator that collects scenarios, which hold with both drivers."""

    def __init__(self) -> None:
        self._scenarios: list[Scenario] = []

    def __call__(self, scenario: Scenario) -> Scenario:
        """Register a scenario, so that it is run with both drivers."""
        self._scenarios.append(scenario)
        return scenario

    def tests(self, *, preempted: int) -> tuple[Test, Test, Test]:
        """Return the tests: asyncio, threads, and ``preempted`` runs of preempted threads."""
        of_each = pytest.mark.parametrize(
            "scenario", self._scenarios, ids=lambda scenario: scenario.__name__
        )

        @of_each
        def test_in_asyncio(scenario: Scenario) -> None:
            """The scenario holds in asyncio."""
            run_aio(scenario)

        @of_each
        def test_in_threads(scenario: Scenario) -> None:
            """The scenario holds in threads, in every order in which they are run."""
            for seed in range(6):
                run_threads(scenario, seed)

        @pytest.mark.long
        @of_each
        def test_in_threads_that_lose_their_turn_anywhere(scenario: Scenario) -> None:
            """The scenario holds if threads are switched wherever CPython may."""
            for seed in range(preempted):
                run_threads(scenario, seed, preempt=0.02)

        return test_in_asyncio, test_in_threads, test_in_threads_that_lose_their_turn_anywhere
