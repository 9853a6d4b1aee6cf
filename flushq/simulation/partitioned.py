"""The driver of a Core with partitions, in virtual time.

Theory of operation. The items that arrive at one instant make one event for each of their
partitions, in the order of the first item of each partition. An event of one partition is not told
to the policies of the other partitions. After all other events of an instant, several policies may
get a tick: each policy whose Wait is over, if no other event of the instant has changed its
decision. Flushes start after these ticks, because only then the line of due partitions is complete.
"""

from collections.abc import Hashable, Sequence
from typing import cast

from flushq.core.core import Core
from flushq.core.partitioned_batcher import PartitionedBatcher
from flushq.core.partitioned_buffer import PartitionedBuffer
from flushq.core.running_policy import RunningPolicy
from flushq.simulation.driver import Simulation
from flushq.simulation.sink import Sink


class PartitionedSimulation(Simulation):
    """A Simulation of a core that has a ``partition_key``."""

    def __init__(
        self, core: Core[int], times: Sequence[float], sink: Sink, *, is_bounded: bool
    ) -> None:
        super().__init__(core, times, sink, is_bounded=is_bounded)
        self._items = cast("PartitionedBuffer[int]", core.buffer)
        self._timers = cast("PartitionedBatcher[int]", core.batcher).timers
        self._always_asks = True

    def _announce(self, now: float) -> None:
        fresh = [
            (partition, partition.pending, partition.fresh_weight)
            for partition in dict.fromkeys(self._items.fresh)
        ]
        self._batcher.announce(now)
        for partition, pending, weight in fresh:
            came = partition.pending - pending
            if came > 0 and partition.policy is not None:
                self._waits = 0
                decision = partition.policy.decision
                self._told.append((now, "item_added", came, weight, decision, partition.key))

    def _first_to_tick(self) -> tuple[RunningPolicy, Hashable]:
        first = self._timers.first
        assert first is not None
        assert first.policy is not None
        return first.policy, first.key
