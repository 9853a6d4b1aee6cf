"""Throttles decide when a call of ``flush_fn`` may start: the base class and two throttles."""

from flushq.throttles.breaker import CircuitBreaker
from flushq.throttles.rate import RateLimit
from flushq.throttles.throttle import Throttle

__all__ = ["CircuitBreaker", "RateLimit", "Throttle"]
