"""The values of options: functions that make policies, sinks and numbers from texts.

The text of a policy begins with a name. If ``FORMS`` has this name, a colon and arguments may
follow; commas separate the arguments: ``interval:2.0,500`` is IntervalPolicy(2.0, 500). Any other
name is the name of a module. ``service.queues:POLICY`` is the object POLICY of the module
``service.queues``. ``service.queues:Calm(0.2, 1)`` is the policy that the class Calm of this module
makes with these arguments. The arguments must be literals: no expression is evaluated.

``0.02+0.0001n`` is a sink whose calls take 0.02 s, plus 0.0001 s for each item.
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


def option_reader(
    read: Callable[[Given], T],
) -> Callable[[click.Context, click.Parameter, Given], T]:
    """Return a click callback that returns ``read(value)`` for the value of an option.

    If ``read`` raises a ValueError, the callback tells the user that the value is invalid.
    """

    def callback(ctx: click.Context, param: click.Parameter, given: Given) -> T:
        try:
            return read(given)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from None

    return callback


@contextmanager
def errors_as_messages() -> Iterator[None]:
    """Turn each PolicyError, TypeError or ValueError of the block into a message for the user.

    Raises:
        ClickException: A policy or a throttle raised an error, or gave an invalid answer.
        Mistake: An argument or a policy cannot be used.
    """
    try:
        yield
    except PolicyError as error:
        raise click.ClickException(str(error)) from None
    except (TypeError, ValueError) as error:
        raise Mistake(str(error)) from None


def check_not_same_file(option: str, path: str, *others: str) -> None:
    """Raise Mistake if the file of an option is also one of the other files.

    Raises:
        Mistake: The file is one of the others, perhaps under another name.
    """
    for other in others:
        if os.path.realpath(path) == os.path.realpath(other):
            raise Mistake(f"{option} must not be the same file as {other!r}")


class Input(click.File):
    """The type of an option or argument that is a file to read, or ``-`` for standard input."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the open file; fail if the value is ``-`` but standard input is closed."""
        if value == STANDARD_INPUT and sys.stdin is None:
            self.fail(f"{value!r}: standard input is closed", param, ctx)
        return super().convert(value, param, ctx)


class Number(click.FloatRange):
    """The type of an option that is a float within bounds. NaN is not accepted."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number; fail if the number is out of bounds or NaN."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"it must be a number, not {value}.", param, ctx)
        return number


@attrs.frozen
class Form:
    """The form of the texts that describe one kind of policy.

    Attributes:
        usage: The form as the help text shows it.
        build: The function that makes a policy from the converted arguments.
        readers: For each argument, in order, the function that converts the argument from text.
        required: The number of arguments that must be given; any further arguments are optional.
    """

    usage: str
    build: Callable[..., FlushPolicy]
    readers: tuple[Callable[[str], float], ...]
    required: int = 0

    def read(self, arguments: list[str]) -> FlushPolicy:
        """Make a policy from the texts of the arguments.

        Raises:
            ValueError: There are too few or too many arguments, or an argument is invalid.
        """
        if not self.required <= len(arguments) <= len(self.readers):
            raise ValueError(f"it has {counted(len(arguments), 'argument')}")
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
    """Return the policy that a text describes: make a new one, or import one from a module.

    Raises:
        ValueError: The text does not describe a policy, or the policy could not be made or
            imported. The message shows the text and the reason.
    """
    name, colon, arguments = text.partition(":")
    form = FORMS.get(name)
    try:
        return form.read(arguments.split(",") if colon else []) if form else _find(name, arguments)
    except ValueError as error:
        usage = form.usage if form else POLICY_USAGE
        raise ValueError(f"bad policy {text!r}: {error}; the form is {usage}") from None


def near_miss(name: str, names: Collection[str]) -> str:
    """Return a "did you mean" question if an unknown name is similar to a known name, else ''.

    Args:
        name: The name that the user has given.
        names: The known names.
    """
    matches = [] if name in names else get_close_matches(name, names, 1)
    return f" (did you mean {matches[0]!r}?)" if matches else ""


@contextmanager
def catching_system_exit(complaint: Callable[[str], Exception]) -> Iterator[None]:
    """Raise ``complaint(message)`` instead of a SystemExit that a policy raises in the block."""
    try:
        yield
    except SystemExit as error:
        raise complaint(system_exit_message(error)) from None


def system_exit_message(error: SystemExit) -> str:
    """Return the message for a SystemExit that a policy raised."""
    return f"the policy raised {error!r}"


def _find(module: str, text: str) -> FlushPolicy:
    """Return the object ``text`` of a module; if ``text`` is a call, return what the call makes.

    Raises:
        ValueError: The object cannot be imported or is not a policy, or the call fails.
    """
    if not (module and text):
        raise ValueError(f"there is no policy of this name{near_miss(module, FORMS)}")
    name, call = (text, None) if "(" not in text else _read_call(text)
    try:
        found: Any = getattr(importlib.import_module(module), name)
        made: object = found if call is None else found(*call.args, **call.kwargs)
    except (Exception, SystemExit) as error:
        why = _in_a_line(f"{type(error).__name__}: {error}")
        raise ValueError(f"{why}{_near_miss_of(error)}") from None
    with catching_system_exit(ValueError):
        return _checked(made, module, text)


class Arguments(NamedTuple):
    """The arguments for the class or the function that makes a policy."""

    args: list[Any]
    kwargs: dict[Any, Any]


def _read_call(text: str) -> tuple[str, Arguments]:
    """Return the name and the arguments in a text like ``NAME(ARGUMENT, NAME=ARGUMENT, ...)``.

    Raises:
        ValueError: The text has another form, or an argument is not a literal.
    """
    match _parsed(text):
        case ast.Call(ast.Name(name), args, keywords):
            kwargs = {keyword.arg: _literal(keyword.value, text) for keyword in keywords}
            if None in kwargs or len(kwargs) < len(keywords):
                raise ValueError(f"{text!r} must not contain ** or give an argument twice")
            return name, Arguments([_literal(arg, text) for arg in args], kwargs)
        case _:
            raise ValueError(f"{text!r} must be like NAME(ARGUMENT, ...)")


def _parsed(text: str) -> ast.expr | None:
    with suppress(SyntaxError, ValueError, MemoryError, RecursionError):
        return ast.parse(text, mode="eval").body
    return None


def _literal(argument: ast.expr, text: str) -> object:
    try:
        return ast.literal_eval(argument)
    except (ValueError, TypeError):
        segment = ast.get_source_segment(text, argument)
        raise ValueError(f"the argument {segment} must be a literal") from None


def _near_miss_of(error: BaseException) -> str:
    """Return near_miss() for a name that could not be imported; '' if the error is another one."""
    if isinstance(error, ModuleNotFoundError):
        return near_miss(error.name or "", FORMS)
    if isinstance(error, AttributeError) and isinstance(error.obj, ModuleType):
        return near_miss(error.name or "", vars(error.obj))
    return ""


def _checked(found: object, module: str, text: str) -> FlushPolicy:
    if isinstance(found, type | FunctionType) and "(" not in text:
        what = "class" if isinstance(found, type) else "function"
        why = f"{text} is a {what}, not a policy: write {module}:{text}(...), with its arguments"
        raise ValueError(why)
    if not isinstance(found, FlushPolicy):
        what = _in_a_line(reprlib.repr(found))
        raise ValueError(f"{text} is {what}, not a policy")  # noqa: TRY004 - the text is wrong
    return found


def _in_a_line(text: str) -> str:
    return " ".join(text.split())


def parse_sink(text: str) -> Sink:
    """Make the sink that a text describes.

    Raises:
        ValueError: The text does not describe a sink, or a call with one item would take longer
            than LARGEST. The message shows the text.
    """
    found = _TEXT.fullmatch(text)
    sink = Sink(*(float(number or 0) for number in found.groups())) if found else None
    if not text or text.endswith("+") or sink is None:
        raise ValueError(f"bad sink {text!r}: it must be like 0.1, 0.01n or 0.1+0.01n")
    if sink(1) > LARGEST:
        raise ValueError(f"bad sink {text!r}: a call with one item must take at most {LARGEST:g} s")
    return sink
