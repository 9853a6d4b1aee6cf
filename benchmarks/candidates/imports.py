"""The time of an import, in a process that has imported nothing else.

The modules are compiled before, as in an installed package. Their bytecode is kept in a folder in
the cache of the user, not in the checkout. Processor time is measured, as in most candidates.
"""

import os
import subprocess
import sys

from benchmarks.peers import cache

_PROGRAM = "from time import process_time as now; began = now(); {}; print(now() - began)"


async def flushq() -> float:
    """Return the seconds that importing flushq takes."""
    return _seconds("import flushq")


async def asyncio_and_attrs() -> float:
    """Return the seconds that importing asyncio and attrs takes; flushq needs both."""
    return _seconds("import asyncio, attrs")


def _seconds(statement: str) -> float:
    program = [sys.executable, "-P", "-c", _PROGRAM.format(statement)]
    bytecode = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(cache() / "bytecode")}
    environment = os.environ | bytecode
    subprocess.check_output(program, env=environment)  # compiles the modules if needed
    return float(subprocess.check_output(program, env=environment))
