"""``python -m flushq``: the command line, which needs more packages than the queues do."""

import signal
import sys

NEEDED = ("aiosqlite", "click", "rich")


def run() -> None:
    """Run the command line; if a package is missing, print its name and exit with status 2."""
    try:
        from flushq.cli import main  # noqa: PLC0415 - a package that the cli needs may be missing
    except ModuleNotFoundError as error:
        if error.name not in NEEDED:
            raise
        sys.stderr.write(
            f"Error: the command line needs {error.name}, which is not installed; "
            "run this in the checkout of flushq: pip install '.[cli]'\n"
        )
        sys.exit(2)
    main(prog_name="python -m flushq")


if __name__ == "__main__":
    # Until a command installs its own handler, Ctrl-C ends this process without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    run()
