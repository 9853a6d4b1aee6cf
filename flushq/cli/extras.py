"""Packages that only some commands need, and that not every extra installs."""

from importlib.util import find_spec

from flushq.cli.terminal import Mistake

PACKAGES = {"asyncpg": "asyncpg", "nats": "nats-py", "prometheus_client": "prometheus-client"}
"""The modules that the extra ``worker`` installs, and the package of each module."""


def check_installed(who: str, *modules: str) -> None:
    """Check that modules of the extra ``worker`` are installed.

    Raises:
        Mistake: A module is missing; the message says that ``who`` needs its package.
    """
    for module in modules:
        if not find_spec(module):
            raise Mistake(
                f"{who} needs {PACKAGES[module]}, which is not installed; "
                "in the checkout of flushq: pip install '.[worker]'"
            )
