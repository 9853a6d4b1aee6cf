"""The rows of the table: the candidates that are measured, the figures, and their limits.

A candidate is a function in `benchmarks.candidates` that returns a sample. If the candidate
measures a peer, the folder of the peer comes first on the import path.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import attrs

from benchmarks import peers
from benchmarks.figures import Figure, amount, at_least, at_most, speed, spread, time
from benchmarks.server import postgres, postgres_and_nats

ROUNDS = 11


@attrs.frozen
class Candidate:
    """A function that does the work of a row in one way, and measures this work.

    Attributes:
        name: The name of the candidate in the table.
        path: The function, as ``module:name``.
        peer: The package that the function measures, as a requirement for pip. None: the function
            needs only this checkout with its extra ``bench``.
    """

    name: str
    path: str
    peer: str | None = None


@attrs.frozen
class Row:
    """Candidates that are measured side by side, and the figures that their samples give.

    Attributes:
        name: The name of the row on the command line.
        text: The text that tells what the row measures.
        candidates: The candidates, which take turns.
        figures: The figures that are computed from the samples of the candidates.
        unit: The unit of a sample: seconds (``s``) or bytes (``B``).
        rounds: The number of rounds, unless the user asks for fewer.
        service: A function that returns a context manager. The manager runs the servers that
            the candidates need, and yields the environment variables for the candidates.
    """

    name: str
    text: str
    candidates: tuple[Candidate, ...]
    figures: tuple[Figure, ...]
    unit: str = "s"
    rounds: int = ROUNDS
    service: Callable[[], AbstractContextManager[Mapping[str, str]]] = attrs.field(
        default=lambda: nullcontext({})
    )


OWN = "flushq"
OLD = "flushq 0.2.2"
FLOOR = "floor"
BY_HAND = "asyncio.Queue by hand"
QUEUE_BY_HAND = "queue.Queue by hand"


def _own(path: str, name: str = OWN) -> Candidate:
    return Candidate(name, path)


def _old(path: str, name: str = OLD) -> Candidate:
    return Candidate(name, path, peers.FLUSHQ)


def _answers(name: str, text: str, path: str, bar: float, goal: float) -> Row:
    """Return a row in which many callers at a time each wait for their own answer."""
    return Row(
        name,
        text,
        (
            Candidate(FLOOR, "floor:answered"),
            _own(path),
            Candidate("aiodataloader", "data_loader:load", peers.DATA_LOADER),
            Candidate("async-batcher", "batcher:process", peers.BATCHER),
        ),
        (
            time(OWN, FLOOR, limits=at_most(bar, goal)),
            time(OWN, "aiodataloader", "async-batcher"),
            time(FLOOR, "aiodataloader", "async-batcher"),
        ),
    )


def _one_after_another(name: str, text: str, path: str, bar: float) -> Row:
    """Return a row in which one caller waits for each answer before it asks again."""
    return Row(
        name,
        text,
        (
            _own(f"receipts:{path}_serially"),
            Candidate("aiodataloader", "data_loader:load_serially", peers.DATA_LOADER),
        ),
        (time(OWN, "aiodataloader", limits=at_most(bar, 0.8)),),
    )


_FLOOR = Candidate(FLOOR, "floor:tight")

ROWS = (
    Row(
        "tight-interval",
        "Interval 2.0 s / 500, one producer in a tight loop",
        (
            _FLOOR,
            _own("queues:tight_interval"),
            _old("queues:tight_interval"),
            Candidate("beque", "beque:tight_interval", peers.BEQUE),
            Candidate("batchit", "batchit:tight_interval", peers.BATCHIT),
            Candidate("OpenTelemetry", "telemetry:tight_interval", peers.TELEMETRY),
            Candidate(BY_HAND, "by_hand:tight_interval"),
        ),
        (
            time(OWN, FLOOR, limits=at_most(1.75, 1.6)),
            time(OWN, OLD, limits=at_most(0.08)),
            time(OWN, "beque"),
            time(OWN, "batchit"),
            time(OWN, "OpenTelemetry"),
            time(OWN, BY_HAND),
        ),
    ),
    Row(
        "tight-natural",
        "Natural, one producer in a tight loop",
        (
            _FLOOR,
            _own("queues:tight_natural"),
            _old("queues:tight_natural"),
            Candidate(BY_HAND, "by_hand:tight_natural"),
        ),
        (
            time(OWN, FLOOR, limits=at_most(1.6, 1.45)),
            time(OWN, OLD, limits=at_most(0.35)),
            time(OWN, BY_HAND),
        ),
    ),
    Row(
        "dedupe-distinct",
        "Natural with dedupe_key, all keys distinct",
        (_own("queues:all_distinct"), _old("queues:all_distinct")),
        (time(OWN, OLD, limits=at_most(0.55, 0.4)),),
    ),
    Row(
        "dedupe-equal",
        "Natural with dedupe_key, all keys equal",
        (_own("queues:all_equal"), _old("queues:all_equal")),
        (time(OWN, OLD, limits=at_most(0.55, 0.4)),),
    ),
    Row(
        "weigh",
        "Natural with weigh and max_weight",
        (_FLOOR, _own("own:weighed")),
        (time(OWN, FLOOR, limits=at_most(5.0, 3.0)),),
    ),
    Row(
        "dropping",
        "drop_oldest with a full queue, one producer in a tight loop",
        (Candidate(FLOOR, "limits:dropping_by_hand"), _own("limits:dropping")),
        (time(OWN, FLOOR, limits=at_most(40.0)),),
    ),
    Row(
        "merging",
        "Natural with merge, 100 keys, the last item stays, one producer in a tight loop",
        (Candidate(FLOOR, "limits:merging_by_hand"), _own("limits:merging")),
        (time(OWN, FLOOR, limits=at_most(22.0)),),
    ),
    Row(
        "throttled",
        "Natural with a RateLimit that is not reached, one item per turn of the loop",
        (
            Candidate(FLOOR, "limits:throttled_by_hand"),
            _own("limits:throttled"),
            _own("queues:trickle_natural", "no throttle"),
        ),
        (
            time(OWN, FLOOR, limits=at_most(14.0)),
            time(OWN, "no throttle", limits=at_most(1.8)),
        ),
    ),
    Row(
        "trickle-natural",
        "Natural, one item per turn of the loop",
        (
            Candidate(FLOOR, "floor:trickle"),
            _own("queues:trickle_natural"),
            _old("queues:trickle_natural"),
        ),
        (time(OWN, OLD, limits=at_most(1.7)), time(OWN, FLOOR, limits=at_most(4.0, 3.0))),
    ),
    Row(
        "trickle-interval",
        "Interval 2.0 s / 500, one item per turn of the loop",
        (
            Candidate(FLOOR, "floor:trickle"),
            _own("queues:trickle_interval"),
            _old("queues:trickle_interval"),
        ),
        (time(OWN, OLD, limits=at_most(0.65, 0.55)), time(OWN, FLOOR)),
    ),
    Row(
        "blocked",
        "producers that wait for room, max_queue_size=1, time per producer",
        (
            _own("queues:blocked_1_000", "1,000"),
            _own("queues:blocked_8_000", "8,000"),
            _own("queues:blocked_32_000", "32,000"),
            _old("queues:blocked_8_000", "8,000 of flushq 0.2.2"),
        ),
        (
            spread("1,000", "8,000", "32,000", limits=at_most(1.5)),
            time("8,000", "8,000 of flushq 0.2.2", limits=at_most(0.28, 0.1)),
        ),
    ),
    Row(
        "backlog",
        "a backlog that is drained in batches of 500, time per item",
        (
            _own("own:backlog_1_000", "10^3"),
            _own("own:backlog_10_000", "10^4"),
            _own("own:backlog_100_000", "10^5"),
            _own("own:backlog_1_000_000", "10^6"),
        ),
        (spread("10^3", "10^4", "10^5", "10^6", limits=at_most(1.5, 1.2)),),
    ),
    Row(
        "custom-policy",
        "a policy in plain Python, one producer in a tight loop",
        (_own("own:tight_echo", "EchoPolicy"), _own("queues:tight_natural", "Natural")),
        (time("EchoPolicy", "Natural", limits=at_most(1.05, 1.0)),),
    ),
    Row(
        "memory",
        "memory of a waiting item, without the item itself",
        (_own("own:memory"),),
        (amount(OWN, "B", limits=at_most(16, 8)),),
        unit="B",
        rounds=1,
    ),
    Row(
        "partitions",
        "items of several partitions, Interval 2.0 s / 500, one producer in a tight loop",
        (
            _own("partitions:none", "none"),
            _own("partitions:partitions_1", "1"),
            _own("partitions:partitions_10", "10"),
            _own("partitions:partitions_1_000", "1,000"),
        ),
        (
            time("1", "none", limits=at_most(2.0)),
            time("10", "none", limits=at_most(3.0)),
            time("1,000", "none", limits=at_most(12.0)),
        ),
    ),
    Row(
        "partitions-open",
        "items for partitions that are open already, without any flush, time per item",
        (
            _own("partitions:known_1_000", "1,000"),
            _own("partitions:known_100_000", "100,000"),
        ),
        (time("100,000", "1,000", limits=at_most(2.0)),),
        rounds=3,
    ),
    Row(
        "partitions-once",
        "200,000 partitions with one item each, Natural",
        (
            _own("partitions:seen_once", "partitions"),
            _own("partitions:one_a_flush", "max_records=1"),
        ),
        (time("partitions", "max_records=1", limits=at_most(3.0)),),
        rounds=3,
    ),
    Row(
        "partition-memory",
        "memory per tenant: a partition of one queue, or a queue for each tenant",
        (_own("partitions:memory", "partition"), _own("partitions:memory_of_queues", "queue")),
        (
            amount("partition", "B", limits=at_most(2_000)),
            time("partition", "queue", limits=at_most(0.25)),
        ),
        unit="B",
        rounds=1,
    ),
    _answers("deliver", "deliver, 1,000 concurrent callers", "receipts:deliver", 1.15, 1.05),
    _answers("batched", "Batched, 1,000 concurrent callers", "receipts:batched", 1.35, 1.2),
    _one_after_another("deliver-serial", "deliver, one call after another", "deliver", 1.1),
    _one_after_another("batched-serial", "Batched, one call after another", "batched", 1.6),
    Row(
        "submit",
        "submit, one producer in a tight loop",
        (_FLOOR, _own("receipts:submit")),
        (time(OWN, FLOOR, limits=at_most(13.0)),),
    ),
    Row(
        "nowait",
        "enqueue_nowait, all items in one turn of the loop",
        (_FLOOR, _own("own:nowait")),
        (time(OWN, FLOOR, limits=at_most(1.1)),),
    ),
    Row(
        "new-queue",
        "making a new queue, time per queue",
        (_own("own:new_queue"), _own("own:new_asyncio_queue", "asyncio.Queue")),
        (time(OWN, "asyncio.Queue", limits=at_most(20.0)),),
    ),
    Row(
        "new-queue-memory",
        "memory of a new queue",
        (_own("own:memory_of_a_queue"),),
        (amount(OWN, "B", limits=at_most(4_800, 2_000)),),
        unit="B",
        rounds=1,
    ),
    Row(
        "losses",
        "flushes of 100 items that are lost at a close, time per flush",
        (_own("own:lose_200", "200"), _own("own:lose_1_600", "1,600")),
        (spread("200", "1,600", limits=at_most(1.5)),),
    ),
    Row(
        "threads-1",
        "threads: Interval 2.0 s / 500, one producer",
        (
            _own("threads:own_1"),
            Candidate(QUEUE_BY_HAND, "threads:by_hand_1"),
            Candidate("OpenTelemetry", "telemetry:tight_interval", peers.TELEMETRY),
        ),
        (
            time(OWN, QUEUE_BY_HAND, limits=at_most(0.14, 0.08)),
            time(OWN, "OpenTelemetry", limits=at_most(0.7, 0.5)),
        ),
    ),
    Row(
        "threads-8",
        "threads: Interval 2.0 s / 500, eight producers",
        (_own("threads:own_8"), Candidate(QUEUE_BY_HAND, "threads:by_hand_8")),
        (time(OWN, QUEUE_BY_HAND, limits=at_most(0.14, 0.1)),),
    ),
    Row(
        "threads-deliver",
        "threads: deliver, 64 callers",
        (_own("threads:own_deliver"), Candidate(QUEUE_BY_HAND, "threads:by_hand_deliver")),
        (time(OWN, QUEUE_BY_HAND, limits=at_most(2.0, 1.0)),),
    ),
    Row(
        "threads-partitions",
        "threads: items of several partitions, Interval 2.0 s / 500, one producer",
        (
            _own("threads:no_partitions", "none"),
            _own("threads:partitions_1", "1"),
            _own("threads:partitions_1_000", "1,000"),
        ),
        (
            time("1", "none", limits=at_most(20.0, 2.0)),
            time("1,000", "none", limits=at_most(28.0, 12.0)),
        ),
    ),
    Row(
        "sqlite",
        "rows into SQLite, 500 per batch",
        (
            _own("sqlite:queued"),
            _own("sqlite:in_tasks", "a queue by hand"),
            _own("sqlite:by_hand", "no queue"),
        ),
        (speed(OWN, "a queue by hand", limits=at_least(0.9, 1.0)), speed(OWN, "no queue")),
    ),
    Row(
        "postgres",
        "rows into PostgreSQL (COPY), 500 per batch",
        (_own("postgres:queued"), _own("postgres:by_hand", "no queue")),
        (speed(OWN, "no queue", limits=at_least(0.9, 1.0)),),
        service=postgres,
    ),
    Row(
        "work",
        "messages of JetStream into PostgreSQL",
        (
            _own("messages:one_worker", "1 worker"),
            _own("messages:two_workers", "2 workers"),
            _own("messages:four_workers", "4 workers"),
            _own("messages:by_hand", "fetch and COPY by hand"),
        ),
        (
            speed("1 worker", "fetch and COPY by hand", limits=at_least(1.2, 2.0)),
            speed("2 workers", "fetch and COPY by hand"),
            speed("4 workers", "fetch and COPY by hand"),
        ),
        rounds=3,
        service=postgres_and_nats,
    ),
    Row(
        "import",
        "import flushq",
        (_own("imports:flushq"), _own("imports:asyncio_and_attrs", "asyncio, attrs")),
        (time(OWN, "asyncio, attrs", limits=at_most(1.5, 1.2)),),
    ),
    Row(
        "simulate",
        "simulate() with a million arrivals, time per arrival",
        (_FLOOR, _own("own:simulated")),
        (time(OWN, FLOOR, limits=at_most(17.0, 10.0)),),
        rounds=3,
    ),
)
