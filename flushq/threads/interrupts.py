"""What an interrupt does to a caller that waits for the end of a queue.

Whatever a signal handler raises (KeyboardInterrupt, say) cuts the drain short, and goes on
afterwards. What was lost is told beside it (flushq.telling). It may come between any two steps of
the caller, so that one only sets what may be set twice, and a thread of the queue does the rest.
"""

from typing import Any

from flushq.core.core import Core
from flushq.threads.runner import Runner


def until_ended(core: Core[Any], runner: Runner[Any], *, owner: bool) -> BaseException | None:
    """Close the queue, wait for the end, and return the last interrupt after which that went on."""
    runner.entrance.check_free()
    interrupt = None
    while True:
        try:
            if not core.ending.closing:
                runner.close()
            if interrupt is not None and not core.ending.ended:
                runner.cut_short("the close was interrupted")
            runner.wait_for_end(owner=owner)
            return interrupt
        except RecursionError:  # it would come again and again
            raise
        except BaseException as error:
            if not core.ending.may_be_hastened(is_owner=owner):
                raise
            interrupt = error
