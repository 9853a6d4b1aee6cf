"""The effect of an interrupt on a caller that waits for the end of a queue.

An *interrupt* is any exception that a signal handler raises, such as KeyboardInterrupt. It cuts the
drain short, and is raised again after the end. If items were lost, a note on the interrupt and
a log record tell so (flushq.telling). An interrupt may come between any two steps of the caller. So
the caller takes only steps that may be taken twice, and a thread of the queue does the rest.
"""

from typing import Any

from flushq.core.core import Core
from flushq.threads.runner import Runner


def until_ended(core: Core[Any], runner: Runner[Any], *, owner: bool) -> BaseException | None:
    """Close the queue, wait for its end, and return the last interrupt of this wait, or None.

    If an owner waits for the end, the interrupt of any other caller is raised at once, and changes
    nothing.
    """
    runner.entrance.check_not_in_step()
    interrupt = None
    while True:
        try:
            if not core.ending.closing:
                runner.close()
            if interrupt is not None and not core.ending.ended:
                runner.stop("the close was interrupted")
            runner.wait_for_end(owner=owner)
            return interrupt
        except RecursionError:  # the next attempt would raise it again
            raise
        except BaseException as error:
            if not core.ending.cancellation_ends_queue(is_owner=owner):
                raise
            interrupt = error
