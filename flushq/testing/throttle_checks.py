"""The functions that a test uses to check a throttle."""

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

    A history has at most 40 steps. Each step is one of these: the start of a call, the end of a
    call, a small burst of calls, a short pause, or a pause until the time that ``ready_at``
    returned. A mistake that needs more steps is not found. If a throttle may have such a mistake,
    give the throttle smaller thresholds in the test.

    Args:
        throttle: The throttle (it is not changed), or a function or class that makes the throttle.
        except_for: The names of laws that the throttle need not keep. Every name in
            :data:`THROTTLE_LAWS` is allowed except ``sound``. For instance, a throttle that depends
            on the time of day does not keep ``shift``.
        examples: The number of random histories to try.

    Raises:
        ThrottleLawBroken: A law is broken. The message shows the smallest history that was found to
            break the law.
        TypeError: ``throttle`` is not a throttle, or ``examples`` is not an int.
        ValueError: ``except_for`` contains a name that is not allowed, or ``examples`` is less than
            1.
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
        history: The history whose events the throttle is told.
        except_for: The names of laws that the throttle need not keep; see :func:`check_throttle`.

    Raises:
        ThrottleLawBroken: A law is broken.
        TypeError: ``throttle`` is not a throttle.
        ValueError: ``except_for`` contains a name that is not allowed.
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
    """Yield smaller histories: each leaves out some consecutive steps.

    The shortest histories come first.
    """
    steps = history.steps
    for first, end in sorted(
        combinations(range(len(steps) + 1), 2), key=lambda run: run[0] - run[1]
    ):
        yield attrs.evolve(history, steps=steps[:first] + steps[end:])
