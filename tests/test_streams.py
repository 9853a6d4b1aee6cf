"""The handover of a stream, without a driver; points S1 to S3 of the contract test the rest."""

from concurrent.futures import Future

from flushq import NaturalPolicy
from flushq.core.core import Core
from flushq.streams import Handover


def test_nothing_is_kept_of_an_ask_that_is_over() -> None:
    """The end of the queue wakes the consumer that waits then, and no earlier one."""
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


def test_a_batch_whose_next_was_asked_for_is_in_no_list() -> None:
    """If its flush is cut short before it returns, its items are in doubt in the queue alone."""
    core: Core[int] = Core(NaturalPolicy())
    handover = Handover(core, "the stream")
    core.ending.start()
    core.admission.open_burst(0.0)
    core.buffer.append(1)
    ask = Future[None]()
    handover.join(ask)
    core.observe()
    batch = core.start_next_flush(lambda: 0.0)
    assert batch is not None
    handover.offer(batch.call(batch.items), Future[None]())
    assert [1] == handover.take()
    handover.leave(ask)
    handover.join(Future[None]())
    core.ending.stop("the block was left")
    batch.interrupt()
    batch.fail(OSError())
    core.note_flush_end(batch, 1.0)
    core.observe()
    handover.list_losses()
    assert [1] == core.batcher.losses.in_doubt.items
    assert ([], []) == (handover.in_doubt, handover.undelivered)
