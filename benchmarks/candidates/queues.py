"""Features that this flushq and flushq 0.2.2 both have; the import path decides which one runs."""

from functools import partial

from benchmarks.candidates import scenarios
from benchmarks.candidates.scenarios import Sink
from flushq import FlushQueue, IntervalPolicy, NaturalPolicy


def _interval(sink: Sink) -> FlushQueue[object]:
    return FlushQueue(sink, IntervalPolicy(2.0, 500))


def _natural(sink: Sink) -> FlushQueue[object]:
    return FlushQueue(sink, NaturalPolicy())


def _deduped(sink: Sink) -> FlushQueue[object]:
    return FlushQueue(sink, NaturalPolicy(), dedupe_key=lambda item: item)


def _narrow(sink: Sink) -> FlushQueue[object]:
    return FlushQueue(sink, NaturalPolicy(), max_queue_size=1)


tight_interval = partial(scenarios.tight, _interval)
tight_natural = partial(scenarios.tight, _natural)
all_distinct = partial(scenarios.tight, _deduped)
all_equal = partial(scenarios.equal, _deduped)
trickle_interval = partial(scenarios.trickle, _interval)
trickle_natural = partial(scenarios.trickle, _natural)
blocked_1_000 = partial(scenarios.blocked, _narrow, 1_000)
blocked_8_000 = partial(scenarios.blocked, _narrow, 8_000)
blocked_32_000 = partial(scenarios.blocked, _narrow, 32_000)
