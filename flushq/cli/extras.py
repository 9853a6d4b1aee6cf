"""A check for packages that only some commands need; the pip extra ``worker`` installs them."""

from importlib.util import find_spec

from flushq.cli.terminal import Mistake

PACKAGES = {"asyncpg": "asyncpg", "nats": "nats-py", "prometheus_client": "prometheus-client"}
"""For each module that the pip extra ``worker`` installs, the name of its package."""


def check_installed(who: str, *modules: str) -> None:
    """Check that these modules of the pip extra ``worker`` are installed.

    Args:
        who: The command or option that needs the modules.
        modules: The names of the modules: keys of PACKAGES.

    Raises:
        Mistake: A module is missing; the message names ``who`` and the missing package.
    """
    for module in modules:
        if not find_spec(module):
            raise Mistake(
                f"{who} needs {PACKAGES[module]}, which is not installed; "
                "run this in the checkout of flushq: pip install '.[worker]'"
            )
