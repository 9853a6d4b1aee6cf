"""The handover of a stream, without a driver; the rest is told by the contract (S1 to S3)."""

from concurrent.futures import Future

from flushq import NaturalPolicy
from flushq.core.core import Core
from flushq.streams import Handover


def test_nothing_is_kept_of_an_ask_that_is_over() -> None:
    """The end of the queue is told to the consumer that asks then, and to no earlier one."""
    core: Core[int] = Core(NaturalPolicy())
    handover = Handover(core, "the stream")
    core.ending.start()
    earlier, last = Future[None](), Future[None]()
    handover.join(earlier)
    handover.leave(earlier)
    handover.join(last)
    core.close()
    core.ending.finish()
    assert (False, True) == (earlier.done(), last.done())
