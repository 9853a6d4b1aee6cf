"""Tests with type checkers."""
