"""Tests of the parts that the asyncio driver adds to the core."""
