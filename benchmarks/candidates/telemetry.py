"""The batch processor of OpenTelemetry: a plain call, and a thread that exports the batches."""

from collections.abc import Sequence
from time import process_time

from opentelemetry.sdk._shared_internal import BatchProcessor
from opentelemetry.sdk._shared_internal._processor_metrics import NoOpProcessorMetrics

from benchmarks.candidates.scenarios import TIGHT


class _Exporter:
    def __init__(self) -> None:
        self.items = 0

    def export(self, batch: Sequence[object]) -> None:
        self.items += len(batch)

    def shutdown(self) -> None:
        pass


async def tight_interval() -> float:
    """Measure a producer in a tight loop; return seconds per item.

    The processor is given room for all items, because a full processor drops items.
    """
    exporter = _Exporter()
    processor = BatchProcessor(
        exporter, 2000, 500, 30_000, len(TIGHT), "item", NoOpProcessorMetrics()
    )
    emit = processor.emit
    began = process_time()
    for item in TIGHT:
        emit(item)
    processor.shutdown()
    seconds = process_time() - began
    if exporter.items != len(TIGHT):
        raise AssertionError(f"{exporter.items} items were exported, not {len(TIGHT)}")
    return seconds / len(TIGHT)
