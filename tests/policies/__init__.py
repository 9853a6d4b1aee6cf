"""The tests of the policies that ship."""
