"""Checks and conversions of arguments.

A failed check raises a ValueError or a TypeError, which shows the bad value.
"""

import copy
import inspect
import math
from numbers import Integral, Rational, Real
from typing import Any, TypeGuard

_PLAIN = frozenset({int, float})


def shown(value: object) -> str:
    """Return ``repr(value)``, or Python's default repr if ``repr(value)`` raises an exception."""
    try:
        return repr(value)
    except Exception:
        return object.__repr__(value)


def is_int(value: object) -> TypeGuard[int]:
    """Return whether the value is an int, but not a bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_real(value: object) -> bool:
    """Return whether the value is a real number, but not a bool."""
    return isinstance(value, Real) and not isinstance(value, bool)


def as_plain(number: Any) -> Any:
    """Convert a real number to an int, a float or a Fraction.

    An integer becomes an int, another rational number becomes a Fraction, and any other number
    becomes the nearest float. Without this conversion, integers of a fixed size, such as those of
    numpy, could overflow when they are added.
    """
    if type(number) in _PLAIN:
        return number
    if isinstance(number, Integral):
        return int(number)
    if isinstance(number, Rational):
        return _as_fraction(number)
    return float(number)


def as_float(seconds: float) -> float:
    """Return a time as a float, for clocks and timers; inf if the time is too large for a float."""
    try:
        return float(seconds)
    except OverflowError:
        return math.inf


def _as_fraction(number: Any) -> Any:
    """Return a rational number as a Fraction whose numerator and denominator are ints."""
    from fractions import Fraction  # noqa: PLC0415 - few callers need it, and its import is slow

    top, bottom = number.numerator, number.denominator
    if type(number) is Fraction and type(top) is type(bottom) is int:
        return number
    return Fraction(int(top), int(bottom))


def check_instance(name: str, value: object, kind: type) -> None:
    """Raise TypeError unless the value is an instance of the class ``kind``."""
    if isinstance(value, type) and issubclass(value, kind):
        raise TypeError(f"{name} must be an object, such as {value.__name__}(), not its class")
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, not {shown(value)}")


def copy_of(name: str, template: Any, kind: type) -> Any:
    """Return a deep copy of ``template``; ``name`` stands for the template in error messages.

    Raises:
        TypeError: ``template`` is not an instance of the class ``kind``, or it cannot be copied, or
            its deep copy is ``template`` itself or is not an instance of ``kind``.
    """
    check_instance(name, template, kind)
    try:
        clone: object = copy.deepcopy(template)
    except Exception as error:
        raise TypeError(
            f"cannot make a deep copy of the {name} {shown(template)}: {shown(error)}; "
            f"if it has values that cannot be copied, the {name} must define __deepcopy__"
        ) from error
    # A clone usually has the type of its template. The check for ``kind``, an ABC, is slower.
    if clone is template or not isinstance(clone, (type(template), kind)):
        raise TypeError(
            f"the deep copy of the {name} {shown(template)} must be a new {kind.__name__}, "
            f"not {shown(clone)}"
        )
    return clone


def check_callable(name: str, function: object) -> None:
    """Raise TypeError unless ``function`` can be called."""
    if not callable(function):
        raise TypeError(f"{name} must be callable, not {shown(function)}")


def check_handler(on_failure: object) -> None:
    """Raise TypeError if ``on_failure`` is a class, such as Retry, or cannot be called."""
    if isinstance(on_failure, type):
        what = f"not the class {on_failure.__name__}"
        raise TypeError(f"on_failure must be a function that returns a verdict, {what}")
    if on_failure is not None:
        check_callable("on_failure", on_failure)


def check_sync_callable(name: str, function: object) -> None:
    """Raise TypeError unless ``function`` is None or a callable that is not async."""
    if function is None:
        return
    check_callable(name, function)
    if any(map(_is_async, (function, type(function).__call__))):
        raise TypeError(f"{name} must not be async: {shown(function)}")


def _is_async(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def check_count(name: str, value: Any) -> None:
    """Raise TypeError or ValueError unless the value is an int of at least 1."""
    if type(value) is not int and not is_int(value):
        raise TypeError(f"{name} must be an int, not {shown(value)}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {shown(value)}")


def check_number(name: str, value: Any, *, least: float) -> None:
    """Raise TypeError or ValueError unless the value is a real number from ``least`` to inf."""
    _check_real(name, value)
    if not value >= least:
        raise ValueError(f"{name} must be at least {least}, not {shown(value)}")


def check_finite(name: str, value: Any, *, least: float) -> None:
    """Raise TypeError or ValueError unless the value is a finite number of at least ``least``."""
    check_number(name, value, least=least)
    if not -math.inf < value < math.inf:
        raise ValueError(f"{name} must be finite, not {shown(value)}")


def check_positive(name: str, value: Any) -> None:
    """Raise TypeError or ValueError unless the value is a real number above 0, or inf."""
    _check_real(name, value)
    if not value > 0:
        raise ValueError(f"{name} must be above 0, not {shown(value)}")


def check_duration(name: str, value: Any) -> None:
    """Raise TypeError or ValueError unless the value is a finite real number above 0."""
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
