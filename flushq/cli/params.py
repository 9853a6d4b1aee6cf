"""What options take, as text: policies, sinks and numbers.

``interval:2.0,500`` is IntervalPolicy(2.0, 500): the text of a policy is a name and, after a colon,
arguments with commas between. A further policy is a further row of FORMS. Any other name is that of
a module: ``service.queues:POLICY`` is its object POLICY, and ``service.queues:Calm(0.2, 1)`` what
its class Calm makes of these arguments. They are literals: nothing in them is evaluated.

``0.02+0.0001n`` is a sink that takes 0.02 s for a flush, and 0.0001 s more for each item.
"""

import ast
import importlib
import math
import os
import re
import reprlib
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from types import FunctionType, ModuleType
from typing import Any, NamedTuple, TypeVar

import attrs
import click

from flushq import (
    AlarmPolicy,
    BudgetPolicy,
    FlushPolicy,
    IntervalPolicy,
    NaturalPolicy,
    PausePolicy,
    PolicyError,
)
from flushq.cli.lab import Sink
from flushq.cli.reading import STANDARD_INPUT
from flushq.cli.terminal import Mistake, counted

LARGEST = 1e12

Given = TypeVar("Given")
T = TypeVar("T")

SINK_USAGE = "SECONDS, SECONDSn or SECONDS+SECONDSn"
_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_TEXT = re.compile(rf"(?:({_NUMBER})(?:\+|$))?(?:({_NUMBER})n)?")


def by(read: Callable[[Given], T]) -> Callable[[click.Context, click.Parameter, Given], T]:
    """Read an option by a function whose ValueError says what is wrong."""

    def callback(ctx: click.Context, param: click.Parameter, given: Given) -> T:
        try:
            return read(given)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from None

    return callback


@contextmanager
def reported() -> Iterator[None]:
    """Turn errors of a policy, and of what is done with arguments of the call, into messages.

    Raises:
        ClickException: A policy raised, or answered nonsense.
        Mistake: An argument, or a policy, cannot be used.
    """
    try:
        yield
    except PolicyError as error:
        raise click.ClickException(str(error)) from None
    except (TypeError, ValueError) as error:
        raise Mistake(str(error)) from None


def check_apart(option: str, path: str, *others: str) -> None:
    """Make sure that the file of an option is not one of the others.

    Raises:
        Mistake: It is, perhaps by another name.
    """
    for other in others:
        if os.path.realpath(path) == os.path.realpath(other):
            raise Mistake(f"{other!r} cannot be the file of {option} too")


class Input(click.File):
    """A file to read, or standard input, if there is one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Open it; a standard input that is closed cannot be."""
        if value == STANDARD_INPUT and sys.stdin is None:
            self.fail(f"{value!r}: standard input is closed", param, ctx)
        return super().convert(value, param, ctx)


class Number(click.FloatRange):
    """A float within bounds; NaN is not within any."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it; NaN is not a number."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not a number.", param, ctx)
        return number


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
            raise ValueError(counted(len(arguments), "argument"))
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

POLICY_USAGE = f"{', '.join(form.usage for form in FORMS.values())} or MODULE:NAME[(ARGUMENT, ...)]"


def parse_policy(text: str) -> FlushPolicy:
    """Make the policy that a text describes, or find it in the module that it names.

    Raises:
        ValueError: The text does not describe a policy; the message shows it and says why.
    """
    name, colon, arguments = text.partition(":")
    form = FORMS.get(name)
    try:
        return form.read(arguments.split(",") if colon else []) if form else _find(name, arguments)
    except ValueError as error:
        usage = form.usage if form else POLICY_USAGE
        raise ValueError(f"bad policy {text!r}: {error}; it must be {usage}") from None


def near_miss(name: str, names: Collection[str]) -> str:
    """A question for the user, if a name is almost one of these; otherwise an empty text."""
    matches = [] if name in names else get_close_matches(name, names, 1)
    return f" (did you mean {matches[0]!r}?)" if matches else ""


@contextmanager
def staying(complaint: Callable[[str], Exception]) -> Iterator[None]:
    """Turn the SystemExit of a policy, which would leave the program, into an error."""
    try:
        yield
    except SystemExit as error:
        raise complaint(leaving(error)) from None


def leaving(error: SystemExit) -> str:
    """The message about a policy that would leave the program."""
    return f"the policy raised {error!r}"


def _find(module: str, text: str) -> FlushPolicy:
    """Import a policy of the user, or make it; the module may do anything."""
    if not (module and text):
        raise ValueError(f"there is not a policy of this name{near_miss(module, FORMS)}")
    name, call = (text, None) if "(" not in text else _read_call(text)
    try:
        found: Any = getattr(importlib.import_module(module), name)
        made: object = found if call is None else found(*call.args, **call.kwargs)
    except (Exception, SystemExit) as error:
        why = _in_a_line(f"{type(error).__name__}: {error}")
        raise ValueError(f"{why}{_near_miss_of(error)}") from None
    with staying(ValueError):
        return _checked(made, module, text)


class Arguments(NamedTuple):
    """The arguments of a call."""

    args: list[Any]
    kwargs: dict[Any, Any]


def _read_call(text: str) -> tuple[str, Arguments]:
    """Read ``NAME(ARGUMENT, NAME=ARGUMENT, ...)``, whose arguments are literals."""
    match _parsed(text):
        case ast.Call(ast.Name(name), args, keywords):
            kwargs = {keyword.arg: _literal(keyword.value, text) for keyword in keywords}
            if None in kwargs or len(kwargs) < len(keywords):
                raise ValueError(f"an argument of {text!r} has no name, or that of another one")
            return name, Arguments([_literal(arg, text) for arg in args], kwargs)
        case _:
            raise ValueError(f"{text!r} is not NAME(ARGUMENT, ...)")


def _parsed(text: str) -> ast.expr | None:
    with suppress(SyntaxError, ValueError, MemoryError, RecursionError):
        return ast.parse(text, mode="eval").body
    return None


def _literal(argument: ast.expr, text: str) -> object:
    try:
        return ast.literal_eval(argument)
    except (ValueError, TypeError):
        segment = ast.get_source_segment(text, argument)
        raise ValueError(f"the argument {segment} is not a literal") from None


def _near_miss_of(error: BaseException) -> str:
    """What the user may have meant by the name of a module, or of an object in it."""
    if isinstance(error, ModuleNotFoundError):
        return near_miss(error.name or "", FORMS)
    if isinstance(error, AttributeError) and isinstance(error.obj, ModuleType):
        return near_miss(error.name or "", vars(error.obj))
    return ""


def _checked(found: object, module: str, text: str) -> FlushPolicy:
    if isinstance(found, type | FunctionType) and "(" not in text:
        what = "class" if isinstance(found, type) else "function"
        why = f"{text} is a {what}: write {module}:{text}(...), with its arguments"
        raise ValueError(why)
    if not isinstance(found, FlushPolicy):
        what = _in_a_line(reprlib.repr(found))
        raise ValueError(f"{text} is {what}, not a policy")  # noqa: TRY004 - of the text
    return found


def _in_a_line(text: str) -> str:
    return " ".join(text.split())


def parse_sink(text: str) -> Sink:
    """Make the sink that a text describes.

    Raises:
        ValueError: The text does not describe a sink; the message shows it.
    """
    found = _TEXT.fullmatch(text)
    sink = Sink(*(float(number or 0) for number in found.groups())) if found else None
    if not text or text.endswith("+") or sink is None:
        raise ValueError(f"bad sink {text!r}: it must be like 0.1, 0.01n or 0.1+0.01n")
    if sink(1) > LARGEST:
        raise ValueError(f"bad sink {text!r}: one item takes more than {LARGEST:g} s")
    return sink
