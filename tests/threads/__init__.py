"""The queue for threads: flushq.threads."""
