"""The texts that describe throttles: ``rate:10/1.0`` is RateLimit(10, 1.0).

``breaker:5/30`` is CircuitBreaker(5, 30). ``THROTTLES`` lists the names before the colon.
"""

from collections.abc import Callable
from typing import TypeVar

from flushq.cli.params import near_miss
from flushq.throttles import CircuitBreaker, RateLimit, Throttle

THROTTLES: dict[str, Callable[[int, float], Throttle]] = {
    "rate": RateLimit,
    "breaker": CircuitBreaker,
}

THROTTLE_USAGE = "rate:CALLS/SECONDS or breaker:FAILURES/SECONDS"
RATE_USAGE = "N/SECONDS, as in 10/1.0"

Made = TypeVar("Made", bound=Throttle)


def parse_throttle(text: str | None) -> Throttle | None:
    """Return the throttle that a text describes, or None if the text is None.

    Raises:
        ValueError: The text does not describe a throttle; the message shows the text and the
            reason.
    """
    if text is None:
        return None
    name, _, figures = text.partition(":")
    if name not in THROTTLES or "/" not in figures:
        meant = near_miss(name, THROTTLES)
        raise ValueError(f"bad throttle {text!r}{meant}: it must be {THROTTLE_USAGE}")
    return _made(THROTTLES[name], figures, f"bad throttle {text!r}", THROTTLE_USAGE)


def parse_rate(text: str | None) -> RateLimit | None:
    """Return the RateLimit that a text like ``10/1.0`` describes, or None if the text is None.

    Raises:
        ValueError: The text does not describe a RateLimit; the message shows the text and the
            reason.
    """
    if text is None:
        return None
    if "/" not in text:
        raise ValueError(f"bad rate {text!r}: it must be {RATE_USAGE}")
    return _made(RateLimit, text, f"bad rate {text!r}", RATE_USAGE)


def _made(kind: Callable[[int, float], Made], figures: str, what: str, usage: str) -> Made:
    count, _, seconds = figures.partition("/")
    try:
        return kind(int(count), float(seconds))
    except ValueError as error:
        raise ValueError(f"{what}: {error}; the form is {usage}") from None
