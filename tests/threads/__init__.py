"""Tests of the queue for threads, flushq.threads."""
