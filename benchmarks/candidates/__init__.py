"""The candidates: async functions without arguments that return a number, mostly seconds per item.

Each one runs in a process of its own (`benchmarks.worker`), with the product that it measures first
on the import path. So no other process imports these files, and most of them import packages that
may be missing.
"""
