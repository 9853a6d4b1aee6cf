"""What was measured, as JSON: to be kept, and to be compared with."""

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from benchmarks.figures import Finding, Measured


@attrs.frozen
class Conditions:
    """What a ratio may depend on.

    Attributes:
        python: The version of Python.
        loop: The event loop.
        machine: The machine.
    """

    python: str
    loop: str
    machine: str

    @classmethod
    def here(cls, loop: str) -> "Conditions":
        """Those of this process."""
        python = f"{platform.python_implementation()} {platform.python_version()}"
        return cls(python, loop, f"{platform.system()} {platform.machine()}")

    def __str__(self) -> str:
        """All in one line."""
        return f"{self.python}, {self.loop}, {self.machine}"


@attrs.define
class Run:
    """All that one run gave.

    Attributes:
        conditions: Where it was run.
        rows: What was measured, by the names of rows.
        values: The values of the figures, by the names of rows and the texts of figures.
    """

    conditions: Conditions
    rows: dict[str, Measured] = attrs.field(factory=dict)
    values: dict[str, dict[str, float]] = attrs.field(factory=dict)

    def add(self, name: str, measured: Measured, findings: Sequence[Finding]) -> None:
        """Keep a row."""
        self.rows[name] = measured
        self.values[name] = {
            finding.figure.text: finding.value for finding in findings if finding.value is not None
        }

    def save(self, path: Path) -> None:
        """Write it to a file."""
        path.write_text(json.dumps(attrs.asdict(self), indent=1) + "\n")


def load(path: Path) -> Run:
    """Read a run from a file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not a run.
    """
    saved: Mapping[str, Any] = json.loads(path.read_text())
    try:
        rows = {name: Measured(**measured) for name, measured in saved["rows"].items()}
        return Run(Conditions(**saved["conditions"]), rows, saved["values"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} holds no run of the benchmarks: {error!r}") from error
