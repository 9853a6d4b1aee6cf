"""The benchmarks: the cost of an item, in ratios of candidates that are measured side by side."""
