"""Policies as text: ``interval:2.0,500`` is IntervalPolicy(2.0, 500).

A text is a name and, after a colon, arguments with commas between. A further policy is a further
row of FORMS.
"""

from collections.abc import Callable

import attrs

from flushq import FlushPolicy, IntervalPolicy, NaturalPolicy


@attrs.frozen
class Form:
    """How the texts of one policy look.

    Attributes:
        usage: The form, as help shows it.
        build: Makes the policy of its arguments.
        readers: What reads the arguments, in order.
        required: How many of them must be given.
    """

    usage: str
    build: Callable[..., FlushPolicy]
    readers: tuple[Callable[[str], float], ...]
    required: int = 0

    def read(self, arguments: list[str]) -> FlushPolicy:
        """Make the policy.

        Raises:
            ValueError: There are too few arguments or too many, or one is not what it must be.
        """
        if not self.required <= len(arguments) <= len(self.readers):
            raise ValueError(f"{len(arguments)} arguments")
        readers = zip(self.readers, arguments, strict=False)
        return self.build(*(read(argument) for read, argument in readers))


FORMS = {
    "interval": Form("interval:SECONDS[,RECORDS]", IntervalPolicy, (float, int), required=1),
    "natural": Form("natural[:RECORDS]", NaturalPolicy, (int,)),
}

USAGE = " or ".join(form.usage for form in FORMS.values())


def parse_policy(text: str) -> FlushPolicy:
    """Make the policy that a text describes.

    Raises:
        ValueError: The text describes none; the message shows it and says why.
    """
    name, colon, arguments = text.partition(":")
    form = FORMS.get(name)
    if form is None:
        raise ValueError(f"bad policy {text!r}: it must be {USAGE}")
    try:
        return form.read(arguments.split(",") if colon else [])
    except ValueError as error:
        raise ValueError(f"bad policy {text!r}: {error}; it must be {form.usage}") from None
