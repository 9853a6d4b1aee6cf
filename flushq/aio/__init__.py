"""The queue for asyncio: its producers await, and its flush function is an async function."""
