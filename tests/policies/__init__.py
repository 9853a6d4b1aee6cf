"""The tests of the policies in flushq."""
