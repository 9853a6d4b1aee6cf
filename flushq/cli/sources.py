"""Sources of lines: files, named pipes, terminals, and ``-``, the standard input.

A source is opened when its turn comes, so that any number of files can be read; that it can be
opened is checked beforehand.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STANDARD_INPUT = "-"
_FD = 0


def check(source: str) -> None:
    """Make sure that a source can be read, and read nothing.

    A named pipe is not opened, for its writer would take that for a reader that came and went.

    Raises:
        OSError: It is missing, a directory, or not to be read.
    """
    mode = (os.fstat(_FD) if source == STANDARD_INPUT else Path(source).stat()).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if source == STANDARD_INPUT:
        return
    if not stat.S_ISFIFO(mode):
        with opened(source):
            return
    if not os.access(source, os.R_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@contextmanager
def opened(source: str) -> Iterator[int]:
    """Open a source and yield its file descriptor; a named pipe need not have a writer yet.

    Raises:
        OSError: It cannot be opened.
    """
    if source == STANDARD_INPUT:
        yield _FD
        return
    fd = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def is_terminal() -> bool:
    """Whether standard input is one."""
    return os.isatty(_FD)


def shown(source: str) -> str:
    """The name of a source as text that can be stored: what is no UTF-8 in it, escaped."""
    return os.fsencode(source).decode(errors="backslashreplace")
