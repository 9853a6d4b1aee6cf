"""``python -m flushq``: the command line, if what it needs is installed."""

import signal
import sys

NEEDED = ("aiosqlite", "click", "rich")


def run() -> None:
    """Run the command line; say what is missing, and exit with 2, if the extra is not installed."""
    try:
        from flushq.cli import main  # noqa: PLC0415 - it may be missing
    except ModuleNotFoundError as error:
        if error.name not in NEEDED:
            raise
        sys.stderr.write(
            f"Error: the command line needs {error.name}, which is not installed; "
            "in the checkout of flushq: pip install '.[cli]'\n"
        )
        sys.exit(2)
    main(prog_name="python -m flushq")


if __name__ == "__main__":
    # Until a command listens to signals, an interrupt ends the process as it does any other.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    run()
