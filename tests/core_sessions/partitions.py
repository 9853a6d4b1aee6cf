"""What a model knows of the partitions of a queue, and of the copies of its policy."""

import math

import attrs

from flushq import Decision, Wait


@attrs.define(eq=False)
class Partition:
    """A partition, while it exists.

    Attributes:
        key: Its key.
        copy: The number of its copy of the policy; None: it was not told of anything.
        decision, told_at: What that has answered, and at which time.
    """

    key: int | None
    copy: int | None = None
    decision: Decision = attrs.field(factory=Wait)
    told_at: float = -math.inf


@attrs.frozen
class PolicyEvent:
    """An event that a policy was told of, with its answer; without one, why it has failed.

    Attributes:
        copy: The number of the copy of the policy.
    """

    copy: int
    event: tuple[object, ...]
    decision: Decision | None = None
    cause: object = None


COPIED = "copied"
"""The event of a policy that is to be copied and fails to be."""

NO_EVENT = PolicyEvent(-1, ("nothing",))
"""What is heard if nothing is."""
