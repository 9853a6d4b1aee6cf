"""Writes the reference, flushq/README.rst, from the docstrings.

    python -m tests.reference

The page has, for each public class and function, its signature, the first sentence of its docstring
and the text of each argument or attribute; for a class also its methods and properties.
"""

import importlib
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs

PAGE = Path(__file__).parents[1] / "flushq" / "README.rst"
MODULES = (
    "flushq",
    "flushq.threads",
    "flushq.services",
    "flushq.throttles",
    "flushq.simulation",
    "flushq.offline",
    "flushq.testing",
)
WIDTH = 100

HEAD = """\
Reference
=========

Every public class and function, with the first sentence of its docstring. The whole docstring also
tells which exceptions are raised, and the state after them: ``help(flushq.FlushQueue)``. This page
is written by ``python -m tests.reference``.

.. contents::
   :depth: 2
   :local:
"""


def reference() -> str:
    """Return the text of the page."""
    return "\n".join([HEAD, *(line for name in MODULES for line in _module_lines(name))])


def _module_lines(name: str) -> Iterator[str]:
    module = importlib.import_module(name)
    yield from _heading(name, "-")
    for public in _public_names(module):
        value = getattr(module, public)
        title = f"{name}.{public}".removeprefix("flushq.")
        if inspect.isclass(value):
            yield from [*_heading(title, "~"), *_class_lines(value)]
        elif inspect.isfunction(value):
            yield from [*_heading(title, "~"), *_function_lines(value)]
    types = [_bullet(f"``{name}`` is ``{text}``") for text, name in _aliases_of(module)]
    if types:
        yield from [*_heading(f"Types of {module.__name__}", "~"), *types, ""]


def _class_lines(kind: type) -> Iterator[str]:
    bases = [f"``{base.__name__}``" for base in kind.__bases__ if _is_public(base)]
    if bases:
        yield from [f"A kind of {', '.join(bases)}.", ""]
    if _is_made_by_users(kind):
        yield from _literal(kind.__name__, _signature(kind))
    yield from _described(kind)
    methods = [_method(name, method) for name, method in _methods(kind)]
    if methods:
        yield from ["Methods and properties:", "", *methods, ""]


def _function_lines(function: Callable[..., object]) -> Iterator[str]:
    yield from _literal(function.__name__, _signature(function))
    yield from _described(function)


def _described(thing: object) -> Iterator[str]:
    """Yield the lines with the first sentence and the text of each argument or attribute."""
    yield from [*_wrapped(_first_sentence(thing)), ""]
    fields = list(_fields(inspect.getdoc(thing) or ""))
    if fields:
        yield from [*(_bullet(f"``{name}``: {text}") for name, text in fields), ""]


def _method(name: str, method: Any) -> str:
    signature = "" if isinstance(method, property) else _signature(method)
    before = "async " if inspect.iscoroutinefunction(method) else ""
    return _bullet(f"``{before}{name}{signature}``: {_first_sentence(method)}")


def _methods(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties that no public base has."""
    known = {name for base in kind.__mro__[1:] if _is_public(base) for name in dir(base)}
    for base in kind.__mro__:
        for name, value in vars(base).items():
            is_method = inspect.isfunction(value) or isinstance(value, property | classmethod)
            if is_method and name not in known and (name == "__call__" or name[0] != "_"):
                yield name, getattr(kind, name)


def _is_made_by_users(kind: type) -> bool:
    """Return whether users make objects of a class: its arguments are described, or its fields."""
    if issubclass(kind, BaseException):
        return "__init__" in vars(kind)
    return attrs.has(kind) or "Args:" in (kind.__doc__ or "")


def _public_names(module: ModuleType) -> list[str]:
    """Return the public names of a module, in order."""
    own = [name for name, value in vars(module).items() if _is_own(value, module.__name__)]
    return sorted(getattr(module, "__all__", own), key=str.lower)


def _is_own(value: object, module: str) -> bool:
    public = not getattr(value, "__name__", "_").startswith("_")
    return public and getattr(value, "__module__", "") == module


def _is_public(kind: type) -> bool:
    return kind.__module__.startswith("flushq.") and any(
        kind.__name__ in _public_names(importlib.import_module(name)) for name in MODULES
    )


def _aliases_of(module: ModuleType) -> list[tuple[str, str]]:
    """Return the named types of a module, as pairs of the type and its name."""
    values = [(getattr(module, name), name) for name in _public_names(module)]
    return [
        (_plain(repr(value)), name)
        for value, name in values
        if not callable(value) or "[" in repr(value)
        if not isinstance(value, int | dict)
    ]


@cache
def _aliases() -> list[tuple[str, str]]:
    modules = [importlib.import_module(name) for name in MODULES]
    return sorted((pair for module in modules for pair in _aliases_of(module)), reverse=True)


def _signature(thing: Callable[..., object]) -> str:
    text = _plain(str(inspect.signature(thing))).removesuffix(" -> None")
    for meaning, name in _aliases():
        text = text.replace(meaning, name)
    return re.sub(r"\(self(, )?", "(", text)


def _plain(annotation: str) -> str:
    """Return an annotation without the modules and marks that a repr adds to its names."""
    return re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Za-z_])|~", "", annotation)


def _first_sentence(thing: object) -> str:
    paragraph = _without_roles(inspect.getdoc(thing) or "").split("\n\n")[0]
    return re.split(r"(?<=\.)\s+(?=[A-Z`])", paragraph.replace("\n", " "))[0]


def _fields(doc: str) -> Iterator[tuple[str, str]]:
    """Yield the names and the text of each entry of the sections Args and Attributes."""
    for section in re.findall(r"^(?:Args|Attributes):\n((?:    .*\n?|\n)+)", doc, re.MULTILINE):
        for entry in re.split(r"\n(?=\w)", textwrap.dedent(section).strip()):
            names, _, text = _without_roles(entry).partition(": ")
            yield re.sub(r",\s+", "``, ``", names), " ".join(text.split())


def _without_roles(doc: str) -> str:
    return re.sub(r":\w+:`~?(?:\w+\.)*(\w+)`", r"``\1``", doc)


def _heading(text: str, sign: str) -> list[str]:
    return [text, sign * len(text), ""]


def _literal(name: str, signature: str) -> list[str]:
    """Return a signature as a literal block: on one line, or with one parameter on each line."""
    line = f"    {name}{signature}"
    if len(line) <= WIDTH:
        return ["::", "", line, ""]
    parameters, _, result = signature[1:].rpartition(")")
    lines = [f"        {each}," for each in re.split(r", (?=\w+: |\*,)", parameters)]
    return ["::", "", f"    {name}(", *lines, f"    ){result}", ""]


def _bullet(text: str) -> str:
    return "\n".join(_wrapped(text, "* ", "  "))


def _wrapped(text: str, first: str = "", others: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )


if __name__ == "__main__":
    PAGE.write_text(reference())
