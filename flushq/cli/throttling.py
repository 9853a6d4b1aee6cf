"""Throttles as text: ``rate:10/1.0`` is RateLimit(10, 1.0), ``breaker:5/30`` CircuitBreaker(5, 30).

A further throttle is a further row of THROTTLES.
"""

from collections.abc import Callable

from flushq.cli.params import near_miss
from flushq.throttles import CircuitBreaker, RateLimit, Throttle

THROTTLES: dict[str, Callable[[int, float], Throttle]] = {
    "rate": RateLimit,
    "breaker": CircuitBreaker,
}

THROTTLE_USAGE = "rate:CALLS/SECONDS or breaker:FAILURES/SECONDS"


def parse_throttle(text: str | None) -> Throttle | None:
    """Make the throttle that a text describes; None, if there is none.

    Raises:
        ValueError: The text does not describe a throttle; the message shows it and says why.
    """
    if text is None:
        return None
    name, _, arguments = text.partition(":")
    count, slash, seconds = arguments.partition("/")
    if name not in THROTTLES or not slash:
        meant = near_miss(name, THROTTLES)
        raise ValueError(f"bad throttle {text!r}{meant}: it must be {THROTTLE_USAGE}")
    try:
        return THROTTLES[name](int(count), float(seconds))
    except ValueError as error:
        raise ValueError(f"bad throttle {text!r}: {error}; it must be {THROTTLE_USAGE}") from None
