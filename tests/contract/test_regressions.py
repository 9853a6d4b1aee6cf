"""Faults of other batchers, each with the test that shows that flushq does not have it.

flushq 0.2.2, an earlier package of this name:

The end of `async with` did not wait for the running flush.
    test_10_close test_leaving_lets_the_running_flush_finish_and_drains_the_rest
After a failed batch the items behind it were lost.
    test_12_failure test_no_new_flush_starts_and_running_ones_finish
At max_shutdown_wait the remaining items were dropped without an error.
    test_10_close test_at_the_limit_running_flushes_are_cancelled_once
A limit of 0 meant no limit.
    test_10_close test_a_limit_of_zero_starts_no_flush
A TimeoutError of flush_fn in the drain counted as the limit.
    test_10_close test_the_sinks_own_timeout_is_a_failure
The drain did not keep max_records.
    test_04_caps test_the_drain_keeps_the_cap
An asyncio.timeout around the queue looked like a success.
    test_11_cancellation test_timeout_around_async_with
    test_11_cancellation test_timeout_around_run
The age of an item that waited during a long flush counted from the end of that flush.
    test_06_latency test_the_first_free_slot_takes_what_is_due
A producer that was cancelled when it got room was accepted, or its room was lost.
    test_01_acceptance test_an_interrupted_producer_gives_its_reservation_to_the_next
The timer did not fire in virtual time.
    test_13_clock_and_context test_no_other_clock_is_read
A flush function that enqueued to its own full queue waited for ever.
    test_14_reentrancy test_the_only_flush_gets_queue_full_where_it_would_wait_for_itself
Duplicates used up a batch.
    test_16_dedupe test_duplicates_do_not_use_up_the_batch
Each item had a timer.
    test_regressions test_no_timer_for_each_item

Seen elsewhere:

A cancelled caller left the others of its batch waiting (async-batcher 0.2.2).
    test_09_flush test_interrupted_at_any_step
A batch that became full while the sink was busy waited for its timer (beque, localstack, ray PR
42705).
    test_06_latency test_a_full_batch_that_comes_while_the_sink_is_busy_starts_when_it_is_free
An idle queue used all the time of a processor (beque).
    test_13_clock_and_context test_an_idle_queue_has_nothing_on_the_loop
A flush that a timer started was cancelled together with the timer (kugelpos #180).
    test_13_clock_and_context test_on_a_punctual_loop_each_event_tells_the_loops_time
Items that came during a flush were removed together with its batch (litellm #28907).
    test_03_at_most_once test_items_added_during_a_flush_are_neither_lost_nor_sent_with_it
An old timer flushed the next batch (flink, akka.net #7879).
    test_06_latency test_an_old_timer_does_not_close_the_next_batch
The sink was called with an empty batch (RxJS, influxdb #80).
    test_04_caps test_no_reason_makes_an_empty_batch
A steady stream of items delayed the flush (jasperfx PR 533, elasticsearch-py, bytewax).
    test_06_latency test_later_items_do_not_put_the_flush_off
The age of a waiting item counted from the moment at which a worker took it (torchserve #2478).
    test_06_latency test_the_first_free_slot_takes_what_is_due
An item that was too large blocked all others (otel-collector #12893).
    test_04_caps test_an_item_above_the_cap_is_refused_to_its_producer
flush() did not flush (influxdb 1.50).
    test_09_flush test_it_flushes_at_once_whatever_the_policy_thinks
flush() reported success after a loss (OpenTelemetry force_flush).
    test_09_flush_failures test_on_a_failed_queue_it_raises_the_failure
One exception object was raised in many tasks, and its traceback grew (aiokafka #246).
    test_12_failure test_many_producers_share_one_cause_that_does_not_grow
A failed batch was sent again (otel contrib 50279).
    test_03_at_most_once test_a_failed_batch_is_not_tried_again
An error of the user's key function ended the queue (ray #66140).
    test_15_bad_arguments test_a_bad_key_or_weight_is_the_producers_error
Timers, caps, slots and a full queue together lost items (Reactor #994 and eight more).
    test_sessions test_sessions_keep_the_contract
"""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from flushq import FlushQueue, IntervalPolicy
from tests.contract.support import Sink, enqueue_all, settle

TESTS = Path(__file__).parents[1]


def test_each_test_that_is_named_exists() -> None:
    """Every fault in the list names a test that exists."""
    named = re.findall(r"^    (test_\w+) (test_\w+)$", str(__doc__), re.MULTILINE)
    assert 30 == len(named)
    for module, test in named:
        assert any(f"def {test}(" in path.read_text() for path in TESTS.rglob(f"{module}.py"))


async def test_no_timer_for_each_item(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an IntervalPolicy there is at most one timer for each batch, not one for each item."""
    loop = asyncio.get_running_loop()
    call_at = loop.call_at
    timers: list[float] = []

    def counting(when: float, *args: Any, **context: Any) -> asyncio.TimerHandle:
        timers.append(when)
        return call_at(when, *args, **context)

    monkeypatch.setattr(loop, "call_at", counting)
    sink = Sink[int]()
    async with FlushQueue(sink, IntervalPolicy(1.0, 1000)) as queue:
        await enqueue_all(queue, range(10_000))
        await settle()
    assert [1000] * 10 == sink.sizes
    assert 10 >= len(timers)
