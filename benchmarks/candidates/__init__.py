"""What is measured: async functions that take nothing and return a number, mostly seconds an item.

Each runs in a process of its own (`benchmarks.worker`), with the product it measures first on the
import path. So no file here is imported by another process, and most import what may be missing.
"""
