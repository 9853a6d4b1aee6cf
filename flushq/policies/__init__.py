"""The policies that ship, one file each."""

from flushq.policies.interval import IntervalPolicy
from flushq.policies.natural import NaturalPolicy

__all__ = ["IntervalPolicy", "NaturalPolicy"]
