"""The functions that a test uses to check a policy.

Theory of operation. A :class:`Play` tells one copy of the policy the events of a history, and
checks each answer. Then three other copies are told the same events: the first in the same way, the
second with one event for each item, the third with all times shifted. All copies must give the same
answers (the third with ``Wait.until`` shifted, too). The bounds (``max_latency``, ``max_batch``,
``ratio``) are checked in simulations. Hypothesis searches for a history or a simulation that breaks
a law, and then for smaller and smaller ones.
"""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Any

import attrs
from hypothesis import strategies as st
from hypothesis import target

from flushq.arguments import check_count, check_finite
from flushq.policy import Flush, FlushPolicy, Wait, running_copy
from flushq.simulation import Trace, simulate
from flushq.testing.histories import (
    Arrive,
    History,
    arrivals,
    flush_durations,
    histories,
    quarter_of,
    slots,
)
from flushq.testing.laws import OPTIONAL, LawBroken, MethodCall, Play
from flushq.testing.ratios import Ratio
from flushq.testing.search import search, search_histories
from flushq.testing.watch import clocks_read

SHIFT_SECONDS = 1000.328125
LONG = 40
CROWDS = (0, 12, 150)
_NEAR = 1e-6
_ROUNDING = 1e-9


def check_policy(
    policy: FlushPolicy | Callable[[], FlushPolicy],
    *,
    except_for: Collection[str] = (),
    max_latency: float | None = None,
    max_batch: int | None = None,
    ratio: Ratio | None = None,
    examples: int = 200,
) -> None:
    """Check that a policy keeps every law in random histories.

    A history has at most 40 steps, enough for a dozen flushes. Up to three flushes run at a time,
    and up to 150 items arrive at once. A mistake that needs more steps, flushes or items is not
    found. If a policy may have such a mistake, give the policy smaller thresholds in the test.

    Args:
        policy: The policy (it is not changed), or a function or class that makes the policy.
        except_for: The names of laws that the policy need not keep. Every name in :data:`LAWS` is
            allowed except ``sound``, ``max_latency``, ``max_batch`` and ``ratio``. If ``caps`` is
            one of the names, the caps may change, but must be valid at the start.
        max_latency: The longest time, in seconds, that an item may wait. An item may wait longer
            only while no slot is free. None: this is not checked.
        max_batch: The largest number of items that a batch may have. None: this is not checked.
        ratio: A bound on what the policy spends, as a multiple of what the optimum spends. With a
            ratio, the policy must not have a ``max_weight``. None: no ratio is checked.
        examples: The number of random histories to try for the laws. For each bound, the same
            number of random simulations is tried.

    Raises:
        LawBroken: A law is broken. The message shows the smallest history that was found to break
            the law.
        TypeError, ValueError: An argument is not valid. For example, ``policy`` is not a policy, or
            ``except_for`` contains a name that is not allowed.
    """
    _check_names(except_for)
    _check_bounds(max_latency, max_batch, ratio)
    check_count("examples", examples)
    made = policy() if callable(policy) and not isinstance(policy, FlushPolicy) else policy
    if running_copy(made, 1).max_weight is not None and ratio is not None:
        raise TypeError(f"ratio must not be given for a policy with max_weight: {made!r}")
    _check_histories(made, except_for, examples)
    if max_latency is not None:
        late = partial(_check_latency, max_latency)
        _search_runs(examples, late, made, max_latency or 1.0, CROWDS)
    if max_batch is not None:
        large = partial(_check_batches, max_batch)
        _search_runs(examples, large, made, 1.0, (0, max_batch, 2 * max_batch))
    if ratio is not None:
        times = arrivals(ratio.scale / 8, max_size=10).filter(bool)
        search(examples, lambda times: _check_ratio(made, times, ratio), times=times)


def check_history(
    policy: FlushPolicy, history: History, *, except_for: Collection[str] = ()
) -> None:
    """Check, with one history, that a policy keeps every law except those about bounds.

    Args:
        policy: The policy; it is not changed.
        history: The history whose events the policy is told.
        except_for: The names of laws that the policy need not keep; see :func:`check_policy`.

    Raises:
        LawBroken: A law is broken.
        TypeError: ``policy`` is not a policy, or ``except_for`` is a str.
        ValueError: ``except_for`` contains a name that is not allowed.
    """
    _check_names(except_for)
    told = _play(policy, history, except_for)
    for law, otherwise in _RETELLINGS.items():
        if law not in except_for:
            _retell(law, running_copy(policy, history.slots), told, otherwise)


def _play(
    policy: FlushPolicy, history: History, except_for: Collection[str]
) -> Sequence[MethodCall]:
    """Play a history, and return the events with the policy's answers.

    Raises:
        LawBroken: A law about a single answer is broken. If ``decide`` reads a clock, the error
            tells only this, even if another law is broken, too.
    """
    play = Play(policy, history, except_for)
    if "pure" in except_for:
        return play.run()
    with clocks_read(type(policy)) as clocks:
        try:
            told: Sequence[Any] = play.run()
        except LawBroken as broken:
            if not clocks:
                raise
            told = broken.history
    if clocks:
        why = f"decide reads {', '.join(sorted(clocks))}: it must use its argument 'now' instead"
        raise LawBroken("pure", why, told)
    return told


def _check_histories(policy: FlushPolicy, except_for: Collection[str], examples: int) -> None:
    """Search short and long histories for one in which the policy breaks a law."""
    check = partial(check_history, policy, except_for=except_for)
    search_histories(examples, check, _fewer, histories() | histories(max_steps=LONG))


def _fewer(history: History) -> Iterator[History]:
    """Yield smaller histories: without one step, or with fewer or lighter items in one arrival."""
    for number, step in enumerate(history.steps):
        before, after = history.steps[:number], history.steps[number + 1 :]
        yield attrs.evolve(history, steps=before + after)
        if isinstance(step, Arrive):
            for weights in _lighter(step.weights):
                less = attrs.evolve(step, weights=weights)
                yield attrs.evolve(history, steps=(*before, less, *after))


def _lighter(weights: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield shorter or lighter tuples: the second half, all but the first weight, or only zeros."""
    if len(weights) > 1:
        yield weights[len(weights) // 2 :]
        yield weights[1:]
    if any(weights):
        yield (0,) * len(weights)


def _again(event: MethodCall) -> list[MethodCall]:
    return [event]


def _singly(event: MethodCall) -> list[MethodCall]:
    """Return one event for each item if the event is an arrival; else return the event alone."""
    return [attrs.evolve(event, facts=(1, weight)) for weight in event.weights] or [event]


def _later(event: MethodCall) -> list[MethodCall]:
    return [attrs.evolve(event, now=event.now + SHIFT_SECONDS)]


_RETELLINGS = {"repeatable": _again, "bursts": _singly, "shift": _later}


def _retell(
    law: str,
    policy: FlushPolicy,
    told: Sequence[MethodCall],
    otherwise: Callable[[MethodCall], list[MethodCall]],
) -> None:
    """Tell a fresh copy of the policy the same events in another way.

    Raises:
        LawBroken: The copy raises, or does not give the same answers.
    """
    for number, event in enumerate(told, 1):
        answered = event
        for version in otherwise(event):
            try:
                answered = attrs.evolve(version, decision=version.tell(policy))
            except Exception as error:
                raise LawBroken(law, f"the policy raised {error!r}", told[:number]) from error
        if not _is_same(event, answered):
            why = f"another copy answered the last event differently: {answered}"
            raise LawBroken(law, why, told[:number])


def _is_same(one: MethodCall, other: MethodCall) -> bool:
    """Return whether two answers are the same, except for shifted times and float rounding."""
    if isinstance(one.decision, Flush) and isinstance(other.decision, Flush):
        return one.decision == other.decision
    return math.isclose(_seconds(one), _seconds(other), rel_tol=_ROUNDING, abs_tol=_NEAR)


def _seconds(event: MethodCall) -> float:
    """Return how long after the event the policy wants to flush, in seconds; inf for ``Wait()``."""
    return event.decision.until - event.now if isinstance(event.decision, Wait) else 0.0


def _check_latency(longest: float, trace: Trace, slots: int) -> None:
    for flush in trace.flushes:
        since = flush.oldest + longest
        if any(_is_free(trace, time, slots) for time in _moments(trace, since, flush.started)):
            why = f"an item waited {flush.started - flush.oldest} s, longer than {longest} s"
            raise LawBroken("max_latency", why, trace.events)
    if trace.stranded:
        raise LawBroken("max_latency", f"items were never flushed: {trace.stranded}", trace.events)


def _moments(trace: Trace, since: float, until: float) -> Iterator[float]:
    """Yield ``since``, and each time between ``since`` and ``until`` at which a flush ended.

    Yield nothing if ``until`` is not later than ``since``.
    """
    if until - since > _ROUNDING:
        yield since
        yield from (flush.ended for flush in trace.flushes if since < flush.ended < until)


def _is_free(trace: Trace, time: float, slots: int) -> bool:
    return sum(flush.started <= time < flush.ended for flush in trace.flushes) < slots


def _check_batches(most: int, trace: Trace, slots: int) -> None:
    for flush in trace.flushes:
        if flush.size > most:
            why = f"a batch has {flush.size} items, more than {most}"
            raise LawBroken("max_batch", why, trace.events)


def _check_ratio(policy: FlushPolicy, times: list[float], ratio: Ratio) -> None:
    spent = ratio.measure(policy, times)
    if spent < math.inf:
        target(float(spent))
    if spent > ratio.bound * (1 + _ROUNDING):
        spends = f"{float(spent)} times the optimum, more than {ratio.bound}"
        why = f"it spends {spends}, for these arrivals:"
        raise LawBroken("ratio", why, times)


def _search_runs(
    examples: int,
    check: Callable[[Trace, int], None],
    policy: FlushPolicy,
    scale: float,
    crowds: Sequence[int],
) -> None:
    """Search for a simulation that fails a check.

    Args:
        examples: The number of simulations to try.
        check: A function that raises LawBroken if a simulation fails. Its arguments are the trace
            of the simulation, and the number of slots.
        policy: The policy.
        scale: A time in seconds: for arrivals this far apart, no policy can easily decide well.
        crowds: Numbers of items. One of these numbers is drawn, and that many further items arrive,
            all at the time of one of the arrivals.
    """

    def run(times: list[float], seconds: float, slots: int, crowd: int, at: int) -> None:
        times = sorted(times + times[at % len(times) :][:1] * crowd) if times else times
        quarter = quarter_of(policy.max_weight)
        weights = None if policy.max_weight is None else [quarter] * len(times)
        check(simulate(policy, times, seconds, max_in_flight=slots, weights=weights), slots)

    times, seconds = arrivals(scale / 8), flush_durations(scale / 4)
    crowd, at = st.sampled_from(crowds), st.integers(0, 20)
    search(examples, run, times=times, seconds=seconds, slots=slots(), crowd=crowd, at=at)


def _check_names(names: Collection[str]) -> None:
    if isinstance(names, str):
        raise TypeError(f"except_for must be a collection of names, such as [{names!r}]")
    for name in names:
        if name not in OPTIONAL:
            laws = ", ".join(OPTIONAL)
            raise ValueError(f"except_for must not name {name!r}; it may name {laws}")


def _check_bounds(max_latency: float | None, max_batch: int | None, ratio: Ratio | None) -> None:
    if max_latency is not None:
        check_finite("max_latency", max_latency, least=0)
    if max_batch is not None:
        check_count("max_batch", max_batch)
    if ratio is not None and not hasattr(ratio, "measure"):
        raise TypeError(f"ratio must be a CostRatio, FlushesRatio or LatencyRatio, not {ratio!r}")
