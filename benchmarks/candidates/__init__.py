"""The candidates: async functions that take no arguments and return a number.

Mostly the number is in seconds per item.

Each candidate runs in a process of its own (`benchmarks.worker`). The folder of the package that
the candidate measures comes first on the import path. Most of these modules import packages that
may not be installed, so no other process imports these modules.
"""
