"""The tests of the throttles: the base class, and those that ship."""
