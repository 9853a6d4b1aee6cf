"""The asyncio driver of the core: it waits, wakes, calls and keeps time."""
