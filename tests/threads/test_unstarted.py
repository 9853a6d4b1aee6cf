"""A queue that holds items and was not started: a call that waits for it says so."""

from functools import partial

import pytest

from flushq import NaturalPolicy
from tests.threads.stage import Stage, play
from tests.threads.support import Sink, queue_of

SAID = (
    "<FlushQueue 'rows' new, 1 pending, 0 in flight> holds items but was not started: "
    "use with, or start()"
)


def test_the_first_second_of_a_wait_passes_without_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A queue that is started within a second, or is given up before, causes no warning."""

    def body(stage: Stage) -> None:
        queue = queue_of(Sink(), NaturalPolicy(), max_queue_size=2)
        began = stage.now
        with pytest.raises(TimeoutError):
            queue.deliver(1, 1.0)
        assert 1.0 == stage.now - began
        tasks = [stage.spawn(queue.flush), stage.spawn(partial(queue.deliver, 2))]
        stage.sleep(0.5)
        with queue:
            for task in tasks:
                task.join()
        assert 1.5 == stage.now - began

    play(body)
    assert [] == caplog.messages


def test_a_call_that_waits_longer_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    """After a second there is one warning for all calls; they go on to wait for the start."""

    def body(stage: Stage) -> None:
        queue = queue_of(Sink(), NaturalPolicy(), max_queue_size=1, name="rows")
        tasks = [stage.spawn(partial(queue.deliver, item, 9.0)) for item in range(2)]
        stage.sleep(5.0)
        assert [SAID] == caplog.messages
        with queue:
            for task in tasks:
                task.join()
        with pytest.raises(RuntimeError):
            queue.start()

    play(body)
    assert ([SAID], ["WARNING"]) == (caplog.messages, [each.levelname for each in caplog.records])


def test_interpreter_shutdown_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """If no call waits, the warning comes when the items are delivered at interpreter shutdown."""

    def body(stage: Stage) -> None:
        sink = Sink()
        queue = queue_of(sink, name="rows")
        queue.enqueue(1)
        stage.sleep(9.0)
        queue._runner.end_with_interpreter(5.0)  # noqa: SLF001 - as the exit function does
        assert [1] == sink.items

    play(body)
    assert [SAID] == caplog.messages
