"""The policies of the library, each in its own file."""

from flushq.policies.alarm import AlarmPolicy
from flushq.policies.budget import BudgetPolicy
from flushq.policies.interval import IntervalPolicy
from flushq.policies.natural import NaturalPolicy
from flushq.policies.pause import PausePolicy

__all__ = ["AlarmPolicy", "BudgetPolicy", "IntervalPolicy", "NaturalPolicy", "PausePolicy"]
