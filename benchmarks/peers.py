"""The peers: other packages, each of them installed into its own folder under the user's cache.

One peer has the name flushq, too. So no peer is installed in the environment of this flushq. In a
process that measures a peer, the folder of this peer comes first on the import path.
"""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.launch import Unavailable

FLUSHQ = "flushq==0.2.2"
BEQUE = "beque==0.1.0"
BATCHIT = "batchit==0.4.0"
TELEMETRY = "opentelemetry-sdk==1.45.2"
DATA_LOADER = "aiodataloader==0.4.3"
BATCHER = "async-batcher==0.2.2"


def cache() -> Path:
    """Return the folder of all peers that are installed for this version of Python."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "flushq-benchmarks" / str(sys.implementation.cache_tag)


def home_of(requirement: str) -> Path:
    """Return the folder of a peer; install the peer there first if it is missing.

    Raises:
        Unavailable: The peer cannot be installed.
    """
    home = cache() / requirement
    if not home.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=home.parent) as folder:
            install(requirement, Path(folder) / "peer")
            (Path(folder) / "peer").rename(home)
    return home


def install(requirement: str, folder: Path) -> None:
    """Install a package and its dependencies into a new folder.

    Raises:
        Unavailable: The package cannot be installed.
    """
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "--target", str(folder), requirement], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Unavailable(_last_line(done.stderr))


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2].removeprefix("ERROR: ")
