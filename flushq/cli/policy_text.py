"""Policies as text: ``interval:2.0,500`` is IntervalPolicy(2.0, 500).

A text is a name and, after a colon, arguments with commas between. A further policy is a further
row of FORMS. Any other name is that of a module: ``service.queues:POLICY`` is its object POLICY.
"""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs

from flushq import (
    AlarmPolicy,
    BudgetPolicy,
    FlushPolicy,
    IntervalPolicy,
    NaturalPolicy,
    PausePolicy,
)


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


def _alarm(item_seconds: float, max_records: int | None = None) -> AlarmPolicy:
    return AlarmPolicy(item_seconds, max_records=max_records)


FORMS = {
    "interval": Form("interval:SECONDS[,RECORDS]", IntervalPolicy, (float, int), required=1),
    "natural": Form("natural[:RECORDS]", NaturalPolicy, (int,)),
    "budget": Form("budget:ITEM_SECONDS[,RECORDS]", BudgetPolicy, (float, int), required=1),
    "alarm": Form("alarm:ITEM_SECONDS[,RECORDS]", _alarm, (float, int), required=1),
    "pause": Form("pause[:FLUSH_SECONDS[,RECORDS]]", PausePolicy, (float, int)),
}

USAGE = f"{', '.join(form.usage for form in FORMS.values())} or MODULE:NAME"


def parse_policy(text: str) -> FlushPolicy:
    """Make the policy that a text describes, or find it in the module that it names.

    Raises:
        ValueError: The text describes none; the message shows it and says why.
    """
    name, colon, arguments = text.partition(":")
    form = FORMS.get(name)
    if form is None and not (name and colon):
        raise ValueError(f"bad policy {text!r}: it must be {USAGE}")
    try:
        return form.read(arguments.split(",") if colon else []) if form else _find(name, arguments)
    except ValueError as error:
        usage = form.usage if form else USAGE
        raise ValueError(f"bad policy {text!r}: {error}; it must be {usage}") from None


@contextmanager
def staying(complaint: Callable[[str], Exception]) -> Iterator[None]:
    """Turn a policy that would leave the program, maybe as if all were well, into an error."""
    try:
        yield
    except SystemExit as error:
        raise complaint(leaving(error)) from None


def leaving(error: SystemExit) -> str:
    """What to say of a policy that would leave the program."""
    return f"the policy raised {error!r}"


def _find(module: str, name: str) -> FlushPolicy:
    """Import someone's own policy, whose module may do anything."""
    try:
        found: object = getattr(importlib.import_module(module), name)
    except (Exception, SystemExit) as error:
        raise ValueError(_in_a_line(f"{type(error).__name__}: {error}")) from None
    with staying(ValueError):
        return _checked(found, name)


def _checked(found: object, name: str) -> FlushPolicy:
    if isinstance(found, type) and issubclass(found, FlushPolicy):
        why = f"{name} is a class: write POLICY = {name}() below it, and name that"
        raise ValueError(why)  # noqa: TRY004 - of the text
    if not isinstance(found, FlushPolicy):
        what = _in_a_line(repr(found))
        raise ValueError(f"{name} is no policy but {what}")  # noqa: TRY004 - of the text
    return found


def _in_a_line(text: str) -> str:
    return " ".join(text.split())
