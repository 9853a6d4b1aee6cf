"""The checks of arguments refuse bad values with a message that shows the value."""

import enum
import math
import re
from collections.abc import Callable
from fractions import Fraction
from itertools import product
from typing import Any

import pytest

from flushq.arguments import (
    as_plain,
    check_count,
    check_finite,
    check_number,
    check_positive,
    check_sync_callable,
    shown,
)
from tests.narrow import NarrowInteger, NarrowRational, NarrowReal


class Untouchable:
    """A class whose objects have no repr."""

    def __repr__(self) -> str:
        raise AttributeError("no repr")


def test_what_is_shown() -> None:
    """A value is shown by its repr, or by its type and address if the repr raises."""
    assert "'a'" == shown("a")
    assert re.fullmatch(r"<.*Untouchable object at 0x[0-9a-f]+>", shown(Untouchable()))


async def _coroutine() -> None:
    pass


class _AsyncCall:
    async def __call__(self) -> None:
        pass


@pytest.mark.parametrize("function", [None, len, dict, shown])
def test_a_plain_function_or_none_is_plain(function: object) -> None:
    """A callable that does not look async passes, and so does None."""
    check_sync_callable("weigh", function)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (7, "weigh must be callable, not 7"),
        (_coroutine, "weigh must not be async: <function _coroutine at "),
        (_AsyncCall(), "weigh must not be async: <tests.test_arguments._AsyncCall object at "),
    ],
)
def test_what_is_not_plain_is_refused(function: object, message: str) -> None:
    """An object that is not callable or is async is a TypeError that shows the object."""
    with pytest.raises(TypeError, match=f"^{re.escape(message)}"):
        check_sync_callable("weigh", function)


Check = Callable[[str, Any], None]


def at_least_0(name: str, number: Any) -> None:
    """Check a number."""
    check_number(name, number, least=0)


def finite(name: str, number: Any) -> None:
    """Check a number that must be finite."""
    check_finite(name, number, least=-math.inf)


@pytest.mark.parametrize(
    ("check", "values"),
    [
        (check_count, [1, 2, 10**30, 10**400]),
        (at_least_0, [0, 0.5, Fraction(1, 3), math.inf]),
        (check_positive, [1, 0.5, Fraction(1, 3), math.inf]),
        (finite, [0, -7, 0.5, Fraction(1, 3)]),
    ],
)
def test_what_is_right_passes(check: Check, values: list[Any]) -> None:
    """A positive int is a count; ints, floats, Fractions and inf are numbers."""
    for value in values:
        check("wait", value)


NUMBERS = [at_least_0, check_positive, finite]


@pytest.mark.parametrize(
    ("checks", "flaw", "values"),
    [
        ([check_count], "at least 1", [0, -1, -(10**5000)]),
        ([check_count], "an int", [True, 1.0, "1", None, Fraction(1), Untouchable()]),
        ([at_least_0], "at least 0", [-1, -0.5, Fraction(-1, 3), math.nan, -math.inf]),
        ([check_positive], "above 0", [0, -1, -0.5, Fraction(-1, 3), math.nan, -math.inf]),
        ([finite], "finite", [math.inf, -math.inf]),
        (NUMBERS, "a real number", [True, "1", None, 1j, [1], Untouchable()]),
        (NUMBERS, "a number that a float can hold", [10**400, Fraction(10**400, 3)]),
    ],
)
def test_what_is_wrong_is_refused_and_shown(
    checks: list[Check], flaw: str, values: list[Any]
) -> None:
    """A wrong value is a ValueError, a wrong type a TypeError."""
    error = TypeError if flaw in {"an int", "a real number"} else ValueError
    for check, value in product(checks, values):
        with pytest.raises(error, match=f"^wait must be {flaw}, not {re.escape(shown(value))}"):
            check("wait", value)


class _Size(enum.IntEnum):
    SMALL = 7


class _Count(int):
    pass


class _Seconds(float):
    pass


class _Share(Fraction):
    pass


@pytest.mark.parametrize("number", [7, 0.5, math.inf, Fraction(1, 3), 10**400])
def test_a_plain_number_stays_what_it_is(number: object) -> None:
    """An int, a float or a Fraction of ints is returned unchanged."""
    assert number is as_plain(number)


@pytest.mark.parametrize(
    ("plain", "number"),
    [
        (7, NarrowInteger(7)),
        (7, _Size.SMALL),
        (7, _Count(7)),
        (7.0, NarrowReal(7)),
        (7.5, _Seconds(7.5)),
        (Fraction(7), NarrowRational(7)),
        (Fraction(1, 3), _Share(1, 3)),
    ],
    ids=lambda number: type(number).__name__,
)
def test_another_number_becomes_the_same_as_a_plain_one(plain: object, number: object) -> None:
    """An integer becomes an int, another rational number a Fraction, any other number a float."""
    became = as_plain(number)
    assert (type(plain), plain) == (type(became), became)


@pytest.mark.parametrize("parts", [(NarrowInteger(2), NarrowInteger(6)), (2, NarrowInteger(6))])
def test_a_fraction_of_other_integers_becomes_one_of_ints(parts: tuple[Any, Any]) -> None:
    """A Fraction of other integers keeps their type, so it is converted to a Fraction of ints."""
    became = as_plain(Fraction(*parts))
    assert Fraction(1, 3) == became
    assert (int, int) == (type(became.numerator), type(became.denominator))


def test_a_number_with_too_many_digits_for_a_repr_is_refused_for_its_size() -> None:
    """Python does not print an int of more than 4,300 digits, but the message is the usual one."""
    message = r"^wait must be a number that a float can hold, not <int object"
    with pytest.raises(ValueError, match=message):
        check_number("wait", 10**5000, least=0)
