"""Checks of arguments: a bad one is a ValueError or a TypeError that shows the value."""

import copy
import inspect
import math
from numbers import Integral, Rational, Real
from typing import Any, TypeGuard

_PLAIN = frozenset({int, float})


def shown(value: object) -> str:
    """The repr of a user's object, also of one that has none."""
    try:
        return repr(value)
    except Exception:
        return object.__repr__(value)


def is_int(value: object) -> TypeGuard[int]:
    """Whether something is an int; a bool is not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_real(value: object) -> bool:
    """Whether something is a real number; a bool is not."""
    return isinstance(value, Real) and not isinstance(value, bool)


def as_plain(number: Any) -> Any:
    """A real number as an int, a float or a Fraction, whose sums do not wrap round in a few bits.

    An integer becomes an int, another rational number a Fraction, any other the nearest float.
    """
    if type(number) in _PLAIN:
        return number
    if isinstance(number, Integral):
        return int(number)
    if isinstance(number, Rational):
        return _as_fraction(number)
    return float(number)


def as_float(seconds: float) -> float:
    """A time as clocks and timers take it: what no float can hold is never."""
    try:
        return float(seconds)
    except OverflowError:
        return math.inf


def _as_fraction(number: Any) -> Any:
    """A rational number as a Fraction of ints; one may be made of other integers."""
    from fractions import Fraction  # noqa: PLC0415 - few need it, and its import takes long

    top, bottom = number.numerator, number.denominator
    if type(number) is Fraction and type(top) is type(bottom) is int:
        return number
    return Fraction(int(top), int(bottom))


def copy_of(name: str, template: Any, kind: type) -> Any:
    """A deep copy of an argument that is a template, of such a kind.

    Raises:
        TypeError: It is of another kind, or cannot be deep-copied.
    """
    if not isinstance(template, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, not {shown(template)}")
    try:
        clone: object = copy.deepcopy(template)
    except Exception as error:
        raise TypeError(
            f"cannot make a deep copy of the {name} {shown(template)}: {shown(error)}; "
            f"a {name} that holds what cannot be copied defines __deepcopy__"
        ) from error
    if clone is template or not isinstance(clone, (type(template), kind)):  # mostly the first
        raise TypeError(
            f"a deep copy of the {name} {shown(template)} must be another one, not {shown(clone)}"
        )
    return clone


def check_callable(name: str, function: object) -> None:
    """Refuse what cannot be called."""
    if not callable(function):
        raise TypeError(f"{name} must be callable, not {shown(function)}")


def check_sync_callable(name: str, function: object) -> None:
    """Refuse what cannot be called, and what returns an awaitable as far as can be seen."""
    if function is None:
        return
    check_callable(name, function)
    if any(map(_is_async, (function, type(function).__call__))):
        raise TypeError(f"{name} must not be async: {shown(function)}")


def _is_async(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def check_count(name: str, value: Any) -> None:
    """Refuse what is not an int of at least 1."""
    if type(value) is not int and not is_int(value):
        raise TypeError(f"{name} must be an int, not {shown(value)}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {shown(value)}")


def check_number(name: str, value: Any, *, least: float) -> None:
    """Refuse what is not a real number of at least ``least``; inf is allowed."""
    _check_real(name, value)
    if not value >= least:
        raise ValueError(f"{name} must be at least {least}, not {shown(value)}")


def check_finite(name: str, value: Any, *, least: float) -> None:
    """Refuse what is not a finite real number of at least ``least``."""
    check_number(name, value, least=least)
    if not -math.inf < value < math.inf:
        raise ValueError(f"{name} must be finite, not {shown(value)}")


def check_positive(name: str, value: Any) -> None:
    """Refuse what is not a real number above 0; inf is allowed."""
    _check_real(name, value)
    if not value > 0:
        raise ValueError(f"{name} must be above 0, not {shown(value)}")


def check_duration(name: str, value: Any) -> None:
    """Refuse what is not a finite real number above 0."""
    check_positive(name, value)
    if as_float(value) == math.inf:
        raise ValueError(f"{name} must be finite, not {shown(value)}")


def _check_real(name: str, value: Any) -> None:
    if not is_real(value):
        raise TypeError(f"{name} must be a real number, not {shown(value)}")
    try:
        float(value)
    except OverflowError:
        message = f"{name} must be a number that a float can hold, not {shown(value)}"
        raise ValueError(message) from None
