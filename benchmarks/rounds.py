"""The rounds of a row: its candidates take turns, each time in a new process."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs

from benchmarks import peers
from benchmarks.figures import Measured
from benchmarks.launch import ROOT, Failed, Unavailable
from benchmarks.rows import Candidate, Row

Launch = Callable[[str, Path, Mapping[str, str]], float]
HomeOf = Callable[[str], Path]


@attrs.define
class Rounds:
    """Measures rows.

    Args:
        launch: Measures the function of a path, with the product in a folder, once.
        most: The most rounds.
        home_of: The folder of a peer.
    """

    launch: Launch
    most: int
    home_of: HomeOf = peers.home_of

    def measure(self, row: Row) -> Measured:
        """Measure all candidates of a row that can be had."""
        homes, missing = self._homes(row.candidates)
        try:
            with row.service() as extra:
                samples, failed = self._take_turns(row, homes, extra)
        except Unavailable as reason:
            return Measured({}, {candidate.name: str(reason) for candidate in row.candidates}, {})
        return Measured(samples, missing, failed)

    def _homes(self, candidates: Sequence[Candidate]) -> tuple[dict[str, Path], dict[str, str]]:
        """Where the candidates that can be had are, and why the others cannot."""
        homes: dict[str, Path] = {}
        missing: dict[str, str] = {}
        for candidate in candidates:
            try:
                home = ROOT if candidate.peer is None else self.home_of(candidate.peer)
            except Unavailable as reason:
                missing[candidate.name] = str(reason)
            else:
                homes[candidate.name] = home
        return homes, missing

    def _take_turns(
        self, row: Row, homes: Mapping[str, Path], extra: Mapping[str, str]
    ) -> tuple[dict[str, list[float]], dict[str, str]]:
        """One sample a round for each candidate; one that fails is out."""
        turns = [candidate for candidate in row.candidates if candidate.name in homes]
        samples: dict[str, list[float]] = {candidate.name: [] for candidate in turns}
        failed: dict[str, str] = {}
        for _ in range(min(self.most, row.rounds)):
            for candidate in list(turns):
                name = candidate.name
                try:
                    samples[name].append(self.launch(candidate.path, homes[name], extra))
                except Failed as reason:
                    failed[name] = str(reason)
                    turns.remove(candidate)
                    del samples[name]
            turns.reverse()  # so that none of them always follows the same other
        return samples, failed
