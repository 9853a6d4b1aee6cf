"""The interrupt of a caller that waits for the end of a queue, and its effect on the queue.

An *interrupt* is any exception that a signal handler raises, such as KeyboardInterrupt. It cuts the
drain short, and is raised again when the queue has ended. If items were lost, a note on the
interrupt and a log record say so (flushq.telling). An interrupt may come between any two steps of
the caller. So the caller takes only steps that it can safely repeat, and a thread of the queue does
the rest.
"""

from typing import Any

from flushq.core.core import Core
from flushq.threads.runner import Runner


def until_ended(core: Core[Any], runner: Runner[Any], *, owner: bool) -> BaseException | None:
    """Close the queue, and wait for its end; return the last interrupt during the wait, or None.

    ``owner`` says whether the caller is an owner of the queue (flushq.core.ending). If an owner
    waits for the end, or has waited for it, the interrupt of a caller that is no owner is raised at
    once, and does not affect the queue.
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
        except RecursionError:  # another attempt would raise it again
            raise
        except BaseException as error:
            if not core.ending.cancellation_ends_queue(is_owner=owner):
                raise
            interrupt = error
