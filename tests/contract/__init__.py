"""The contract of tests/README.rst, point by point, as scenarios of the asyncio driver."""
