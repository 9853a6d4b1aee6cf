"""What the asyncio driver adds to the core, on a loop."""
