"""The partitions of a queue in the model, and the copies of its policy."""

import math

import attrs

from flushq import Decision, Wait


@attrs.define(eq=False)
class Partition:
    """A partition, while it exists.

    Attributes:
        key: Its key.
        copy: The number of its copy of the policy; None if no copy was told of an event.
        decision, told_at: The last answer of this copy, and the time of the last event.
    """

    key: int | None
    copy: int | None = None
    decision: Decision = attrs.field(factory=Wait)
    told_at: float = -math.inf


@attrs.frozen
class PolicyEvent:
    """An event that a policy was told of, with its answer or the cause of its failure.

    Attributes:
        copy: The number of the copy of the policy.
        decision: The answer; None if the policy has failed.
        cause: The exception that the policy has raised, if any.
    """

    copy: int
    event: tuple[object, ...]
    decision: Decision | None = None
    cause: object = None


COPIED = "copied"
"""The name of the event that the policy could not be copied."""

NO_EVENT = PolicyEvent(-1, ("nothing",))
"""The event that stands for no event."""
