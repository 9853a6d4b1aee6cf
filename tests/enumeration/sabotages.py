"""Sabotages of the handling of a throttle that fails, which random sessions rarely reveal."""

from typing import Any

from flushq.core.running_throttle import OnFailure, RunningThrottle
from flushq.core.starts import Starts

Sabotage = tuple[type, str, object]


def _fail_and_keep_waiting(
    starts: Starts[Any], on_failure: OnFailure, what: str, cause: BaseException | None
) -> None:
    on_failure(what, cause)


def _wait_for_ever(throttle: RunningThrottle[Any], now: float, *, is_pausing: bool) -> float:
    return READY_AT(throttle, now, is_pausing=True)


READY_AT = RunningThrottle.ready_at


THROTTLE_SABOTAGES: dict[str, Sabotage] = {
    "retries wait for a throttle that has failed": (Starts, "_fail", _fail_and_keep_waiting),
    "a throttle may say never": (RunningThrottle, "ready_at", _wait_for_ever),
}
