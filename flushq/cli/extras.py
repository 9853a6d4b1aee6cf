"""Packages that only some commands need, and that are not there with every extra."""

from importlib.util import find_spec

from flushq.cli.terminal import Mistake

PACKAGES = {"asyncpg": "asyncpg", "nats": "nats-py", "prometheus_client": "prometheus-client"}
"""What the extra ``worker`` brings: its modules, and the packages that they are in."""


def check_installed(who: str, *modules: str) -> None:
    """Make sure that modules of the extra ``worker`` are there.

    Raises:
        Mistake: One of them is not; the message says that ``who`` needs it.
    """
    for module in modules:
        if not find_spec(module):
            raise Mistake(
                f"{who} needs {PACKAGES[module]}, which is not installed; "
                "in the checkout of flushq: pip install '.[worker]'"
            )
