"""The candidates: async functions without arguments that return a number, mostly seconds per item.

Each one runs in a process of its own (`benchmarks.worker`), with the folder of the package that it
measures first on the import path. Most of these files import packages that may be missing, so no
other process imports them.
"""
