"""The laws that every policy keeps, and what is raised when one is broken."""

from collections.abc import Sequence

LAWS = {
    "sound": "an event returns a decision, raises nothing, and tells the base class all of it",
    "caps": "max_records and max_weight are caps, and stay what they are",
    "silent": "with nothing pending, or no slot free, an event answers Wait()",
    "pure": "an event answers what decide says; decide changes nothing and reads no clock",
    "ahead": "Wait.until lies after now",
    "kept": "if nothing happens before Wait.until, tick then answers Flush",
    "idle": "while something is pending and no flush runs, a time to flush is known",
    "repeatable": "the same history leads to the same decisions",
    "bursts": "n items told at once lead to the decisions of n items told one by one",
    "shift": "a history at another time leads to the same decisions: until is a time, no duration",
    "max_latency": "while a slot is free no item waits longer than max_latency",
    "max_batch": "no batch has more than max_batch items",
    "ratio": "what is spent is at most ratio.bound times the optimum",
}
"""The name of each law, and what it says."""

OPTIONAL = tuple(LAWS)[1:-3]
"""The names of those that can be left out: all but that without which nothing works, and the bounds
that are checked if they are given."""


class LawBroken(AssertionError):
    """A policy has broken a law. The message shows the history, event by event.

    Attributes:
        law: The name of the law; :data:`LAWS` has what it says.
        why: What happened.
        history: What the policy was told before.
    """

    def __init__(self, law: str, why: str, history: Sequence[object] = ()) -> None:
        super().__init__(law, why, history)
        self.law = law
        self.why = why
        self.history = history

    def __str__(self) -> str:
        """The law, what broke it, and all that was told before."""
        lines = [f"{self.law}: {LAWS[self.law]}", f"but {self.why}"]
        return "\n    ".join([*lines, *map(str, self.history)])
