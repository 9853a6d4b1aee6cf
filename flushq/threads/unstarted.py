"""The warning that a queue with items was not started.

A queue has no thread before it is started, so no timer can give this warning. A caller that has
waited START_SECONDS for the queue gives it. Without such a caller, interpreter shutdown gives it.
"""

from typing import Any

from flushq.core.core import Core
from flushq.telling import START_SECONDS, log_not_started
from flushq.threads import primitives
from flushq.threads.primitives import Waiter


class Unstarted:
    """The warning of one queue, which is given once.

    Args:
        core: The core of the queue.
    """

    def __init__(self, core: Core[Any]) -> None:
        self._core = core
        self._is_warned = False

    def wait(self, waiter: Waiter, until: float) -> bool:
        """Wait for ``waiter`` at most START_SECONDS; if it is not completed, give the warning.

        Return whether the waiter was completed or the time ``until`` has come. If the queue was
        started or the warning was given before the call, do not wait, and return False.
        """
        if not self._is_due:
            return False
        enough = primitives.clock() + START_SECONDS
        waiter.wait(min(until, enough))
        if waiter.done() or until <= enough:
            return True
        self.warn()
        return False

    def warn(self) -> None:
        """Give the warning, unless the queue was started or the warning was given before."""
        if self._is_due:
            self._is_warned = True
            log_not_started(self._core, "with, or start()")

    @property
    def _is_due(self) -> bool:
        return not self._is_warned and self._core.ending.state == "new"
