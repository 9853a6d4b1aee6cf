"""How long an import takes, in a process that has imported nothing else.

What is imported has been compiled, as it is once it is installed: the bytecode is kept in a folder
under the user's cache, and not in the checkout. As elsewhere the processor's time is what counts.
"""

import os
import subprocess
import sys

from benchmarks.peers import cache

_PROGRAM = "from time import process_time as now; began = now(); {}; print(now() - began)"


async def flushq() -> float:
    """Import flushq: seconds."""
    return _seconds("import flushq")


async def asyncio_and_attrs() -> float:
    """Import what flushq cannot do without: seconds."""
    return _seconds("import asyncio, attrs")


def _seconds(statement: str) -> float:
    program = [sys.executable, "-P", "-c", _PROGRAM.format(statement)]
    bytecode = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(cache() / "bytecode")}
    environment = os.environ | bytecode
    subprocess.check_output(program, env=environment)  # compiles what was not
    return float(subprocess.check_output(program, env=environment))
