"""The measurements of a run, saved as JSON so that later runs can be compared with them."""

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from benchmarks.figures import Finding, Measured


@attrs.frozen
class Conditions:
    """The conditions of a run; a ratio may depend on them.

    Attributes:
        python: The implementation and the version of Python.
        loop: The name of the event loop.
        machine: The operating system and the processor.
    """

    python: str
    loop: str
    machine: str

    @classmethod
    def here(cls, loop: str) -> "Conditions":
        """Return the conditions of this process."""
        python = f"{platform.python_implementation()} {platform.python_version()}"
        return cls(python, loop, f"{platform.system()} {platform.machine()}")

    def __str__(self) -> str:
        """Return all conditions in one line."""
        return f"{self.python}, {self.loop}, {self.machine}"


@attrs.define
class Run:
    """The results of one run.

    Attributes:
        conditions: The conditions of the run.
        rows: For the name of each row, the measurements of the row.
        values: For the name of each row, a dict with the value of each figure; its keys are the
            texts of the figures.
    """

    conditions: Conditions
    rows: dict[str, Measured] = attrs.field(factory=dict)
    values: dict[str, dict[str, float]] = attrs.field(factory=dict)

    def add(self, name: str, measured: Measured, findings: Sequence[Finding]) -> None:
        """Add the results of a row."""
        self.rows[name] = measured
        self.values[name] = {
            finding.figure.text: finding.value for finding in findings if finding.value is not None
        }

    def save(self, path: Path) -> None:
        """Write the run to a file."""
        path.write_text(json.dumps(attrs.asdict(self), indent=1) + "\n")


def load(path: Path) -> Run:
    """Read a run from a file.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file does not hold a run.
    """
    text = path.read_text()
    try:
        saved: Mapping[str, Any] = json.loads(text)
        rows = {name: Measured(**measured) for name, measured in saved["rows"].items()}
        return Run(Conditions(**saved["conditions"]), rows, saved["values"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} must be a file that --save has written: {error!r}") from error
