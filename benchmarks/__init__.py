"""The benchmarks: the cost of an item, compared with other ways to do the same work."""
