"""The tests of the throttles: the base class, and the throttles in flushq."""
