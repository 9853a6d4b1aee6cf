"""The check of the results of a session of the queue for threads."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from flushq import Displaced, PolicyError, QueueStats, ShutdownTimeout
from flushq.threads import FlushQueue
from flushq.throttles import RateLimit
from tests.sessions.throttles import FaultyThrottle
from tests.threads.plans import Item, Part, Plan, fold, last


class Played(Protocol):
    """A session that is over: see `tests.threads.sessions`."""

    plan: Plan
    most: int
    accepted: list[Item]
    unknown: list[Item]
    handed: list[list[Item]]
    times: list[float]
    flaws: list[str]
    results: dict[Item, BaseException | None]
    errors: list[BaseException]

    @property
    def is_on_stage(self) -> bool:
        """Whether the session ran in virtual time."""
        ...  # pragma: no cover - a protocol has no code


def check(session: Played, queue: FlushQueue[Any]) -> None:
    """Raise an AssertionError if a result of the session is wrong."""
    assert not session.flaws, session.flaws
    _check_account(session, queue)
    _check_places(session, queue)
    _check_results(session, queue)
    _check_orders(session, queue)
    _check_throttle(session, queue)


def _check_account(session: Played, queue: FlushQueue[Any]) -> None:
    stats, plan = queue.stats(), session.plan
    ends = stats.delivered + stats.dropped + stats.undelivered + stats.in_doubt
    assert stats.accepted == stats.duplicates + stats.displaced + ends, stats
    assert (0, 0, 0) == (stats.pending, stats.in_flight, stats.waiting), stats
    least, most = len(session.accepted), len(session.accepted) + len(session.unknown)
    assert least <= stats.accepted <= most, stats
    assert plan.displaces or not stats.displaced, stats
    assert 0 == stats.partitions, stats


def _check_places(session: Played, queue: FlushQueue[Any]) -> None:
    """Check that every item was flushed or is listed once, or is a duplicate or displaced."""
    stats, plan = queue.stats(), session.plan
    lost = [*queue.undelivered, *queue.in_doubt]
    assert not Counter(lost) - Counter(set(lost)), "an item is listed twice"
    handed = {item for batch in session.handed for item in batch}
    assert not handed & set(queue.undelivered)
    assert handed >= set(queue.in_doubt)
    assert all(batch and len(batch) <= 4 for batch in session.handed)
    known = set(_parts([*session.accepted, *session.unknown]))
    found = Counter(_parts({*handed, *lost}))
    assert set(found) <= known
    assert 1 == max(found.values(), default=1), "an item was merged twice"
    missing = set(_parts(session.accepted)) - set(found)
    is_kept = plan.merge is fold and not stats.displaced
    assert len(missing) <= (0 if is_kept else stats.duplicates + stats.displaced), missing
    assert bool(session.errors) == bool(lost or queue.state == "failed")
    if missing and not session.unknown:
        _check_kept(session, stats, set(found))


def _check_kept(session: Played, stats: QueueStats, found: set[Part]) -> None:
    """Check that the queue kept the first of some items, or the last, as its options demand."""
    plan, groups = session.plan, defaultdict[Any, list[Item]](list)
    if stats.displaced and stats.duplicates:
        return
    for item in session.accepted:
        name = item.partition if plan.is_partitioned else None, item.key
        groups[name if stats.duplicates else None].append(item)
    keeps_last = plan.merge is last if stats.duplicates else plan.when_full == "drop_oldest"
    for group in groups.values():
        in_order = group if keeps_last else reversed(group)
        ends = {item.producer: item.number for item in in_order}
        assert found & set(ends.items()), ends


def _parts(items: Iterable[Item]) -> Iterator[Part]:
    for item in items:
        yield from item.parts


def _check_results(session: Played, queue: FlushQueue[Any]) -> None:
    """Check the result that a caller got for an item, or for the duplicate that replaced it."""
    merged = session.plan.merge is fold
    handed = set(_parts(item for batch in session.handed for item in batch))
    lost = set(_parts([*queue.undelivered, *queue.in_doubt]))
    may_stay = queue.stats().duplicates > 0 and not merged
    for item, error in session.results.items():
        part = item.producer, item.number
        if error is None:
            assert part in handed - lost or may_stay, item
        elif isinstance(error, Displaced):
            assert session.plan.displaces
            assert part not in handed | lost, item
        elif isinstance(error, ShutdownTimeout):
            assert part in lost or may_stay, item
        else:
            assert part in handed or may_stay, item


def _check_orders(session: Played, queue: FlushQueue[Any]) -> None:
    """Check that a producer's items are in order, except if the last of merged items wins."""
    plan = session.plan
    if plan.merge is last:
        return
    orders: list[list[Item]] = [queue.undelivered, queue.in_doubt, *session.handed]
    for item in {item for order in orders for item in order}:
        assert item.weight == sum(1.0 + sum(part) % 2 for part in item.parts), item
        orders.append([Item(*part) for part in item.parts])
    firsts = list(dict.fromkeys(item for batch in session.handed for item in batch))
    if plan.partitions == 1:
        orders += [[each for each in firsts if each.partition == number] for number in (0, 1)]
    elif session.most == 1 and not plan.is_partitioned:
        orders.append(firsts)
    for order in orders:
        for producer in {item.producer for item in order}:
            numbers = [item.number for item in order if item.producer == producer]
            assert numbers == sorted(numbers), order


def _check_throttle(session: Played, queue: FlushQueue[Any]) -> None:
    """Check that calls started only when the throttle allowed it, and none after it had failed."""
    throttle = session.plan.throttle
    errors = [error for error in session.errors if isinstance(error, PolicyError)]
    if isinstance(throttle, FaultyThrottle):
        assert len(session.handed) < throttle.number + session.most
        causes = [error.__cause__ for error in errors]
        assert all(cause in {None, throttle.error} for cause in causes), causes
    else:
        assert not errors, errors
    if isinstance(throttle, RateLimit) and session.is_on_stage:
        later = session.times[throttle.calls :]
        gaps = zip(session.times, later, strict=False)
        assert all(first + throttle.seconds <= then for first, then in gaps), session.times
