"""The tests of flushq."""
