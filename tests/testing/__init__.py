"""The tests of what a policy is tested with."""
