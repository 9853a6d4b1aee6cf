"""How long an import takes, in a process that has imported nothing else."""

import subprocess
import sys

_PROGRAM = "from time import perf_counter as now; began = now(); {}; print(now() - began)"


async def flushq() -> float:
    """Import flushq: seconds."""
    return _seconds("import flushq")


async def asyncio_and_attrs() -> float:
    """Import what flushq cannot do without: seconds."""
    return _seconds("import asyncio, attrs")


def _seconds(statement: str) -> float:
    program = [sys.executable, "-P", "-c", _PROGRAM.format(statement)]
    return float(subprocess.check_output(program))
