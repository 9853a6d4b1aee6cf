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
    """The rounds in which the candidates of a row are measured.

    Args:
        launch: A function that measures a candidate once. It gets the path of the candidate, the
            folder of the package that is measured, and additional environment variables.
        most: The most rounds for a row.
        home_of: A function that returns the folder of a peer.
    """

    launch: Launch
    most: int
    home_of: HomeOf = peers.home_of

    def measure(self, row: Row) -> Measured:
        """Measure all available candidates of a row."""
        homes, missing = self._homes(row.candidates)
        try:
            with row.service() as extra:
                samples, failed = self._take_turns(row, homes, extra)
        except Unavailable as reason:
            return Measured({}, {candidate.name: str(reason) for candidate in row.candidates}, {})
        return Measured(samples, missing, failed)

    def _homes(self, candidates: Sequence[Candidate]) -> tuple[dict[str, Path], dict[str, str]]:
        """Return the folder of each available candidate, and the reason for each missing one."""
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
        """Take one sample of each candidate in each round; remove a candidate that fails."""
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
            turns.reverse()  # else each candidate would always follow the same one
        return samples, failed
