"""The benchmarks: the cost of an item, in ratios between candidates measured side by side."""
