"""beque: its ``add`` never lets the event loop run, so all items end up in one large batch."""

from time import process_time

from beque import Beque

from benchmarks.candidates.scenarios import TIGHT, Count, produce


async def tight_interval() -> float:
    """Measure a producer in a tight loop; return seconds per item."""
    sink = Count()
    async with Beque(on_flush=sink.deliver, max_batch_size=500, flush_interval=2.0) as queue:
        began = process_time()
        await produce(queue.add)
    seconds = process_time() - began
    sink.check(len(TIGHT))
    return seconds / len(TIGHT)
