"""The warning that a queue with items was not started.

A queue has no thread before it is started, so no timer can give this warning. A caller that waits
for the queue gives it, after START_SECONDS of its wait; or else interpreter shutdown does.
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
        """Wait START_SECONDS for a queue that was not started; return whether the wait is over.

        If the queue is still not started then, give the warning. The wait is also over if the time
        ``until`` has come.
        """
        if self._is_warned or self._core.ending.state != "new":
            return False
        enough = primitives.clock() + START_SECONDS
        waiter.wait(min(until, enough))
        if waiter.done() or until <= enough:
            return True
        self.warn()
        return False

    def warn(self) -> None:
        """Give the warning, unless the queue was started or the warning was given before."""
        if not self._is_warned and self._core.ending.state == "new":
            self._is_warned = True
            log_not_started(self._core, "with, or start()")
