"""The functions with which a test checks a throttle."""

from collections.abc import Callable, Collection, Iterator
from functools import partial
from itertools import combinations

import attrs

from flushq.arguments import check_count
from flushq.testing.search import search_histories
from flushq.testing.throttle_histories import ThrottleHistory, throttle_histories
from flushq.testing.throttle_laws import RETELLINGS, ThrottlePlay, retell
from flushq.throttles.throttle import Throttle, throttle_copy

LONG = 40


def check_throttle(
    throttle: Throttle | Callable[[], Throttle],
    *,
    except_for: Collection[str] = (),
    examples: int = 200,
) -> None:
    """Check that a throttle keeps every law in random histories.

    A history has at most 40 steps: calls that start or end, small bursts of calls, and waits for
    the time that the throttle has answered. A mistake that needs more steps is not found: use
    smaller thresholds in the throttle of the test.

    Args:
        throttle: The throttle, which is not changed; or a function or class that makes it.
        except_for: The names of laws that the throttle need not keep: all of :data:`THROTTLE_LAWS`
            are allowed except ``sound``. For instance, a throttle that depends on the time of day
            does not keep ``shift``.
        examples: The number of histories to try.

    Raises:
        ThrottleLawBroken: A law is broken; the message shows the smallest history that was found.
        TypeError, ValueError: ``throttle`` is not a throttle, ``except_for`` names something that
            cannot be left out, or ``examples`` is not an int of at least 1.
    """
    check_count("examples", examples)
    made = throttle() if callable(throttle) and not isinstance(throttle, Throttle) else throttle
    check = partial(check_throttle_history, made, except_for=except_for)
    search_histories(
        examples, check, _fewer, throttle_histories() | throttle_histories(max_steps=LONG)
    )


def check_throttle_history(
    throttle: Throttle, history: ThrottleHistory, *, except_for: Collection[str] = ()
) -> None:
    """Check that a throttle keeps every law in one history.

    Args:
        throttle: The throttle; it is not changed.
        history: The history that the throttle goes through.
        except_for: The names of laws that the throttle need not keep; see :func:`check_throttle`.

    Raises:
        ThrottleLawBroken: A law is broken.
        TypeError: ``throttle`` is not a throttle.
        ValueError: ``except_for`` names something that cannot be left out.
    """
    for name in except_for:
        if name not in RETELLINGS:
            names = ", ".join(RETELLINGS)
            raise ValueError(f"except_for must not name {name!r}; it may name {names}")
    turns = ThrottlePlay(throttle, history).run()
    for law, retellings in RETELLINGS.items():
        for retelling in () if law in except_for else retellings:
            copied = throttle_copy(throttle)
            retell(law, copied, retelling(turns, copied, history.unit))


def _fewer(history: ThrottleHistory) -> Iterator[ThrottleHistory]:
    """Yield smaller histories, each without one run of consecutive steps, the longest run first."""
    steps = history.steps
    for first, end in sorted(
        combinations(range(len(steps) + 1), 2), key=lambda run: run[0] - run[1]
    ):
        yield attrs.evolve(history, steps=steps[:first] + steps[end:])
