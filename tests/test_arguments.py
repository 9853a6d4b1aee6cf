"""Bad arguments are refused, with the value."""

import enum
import math
import re
from fractions import Fraction
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
    """What cannot be shown."""

    def __repr__(self) -> str:
        raise AttributeError("no repr")


def test_what_is_shown() -> None:
    """A value is shown by its repr, and by its type and place if that raises."""
    assert "'a'" == shown("a")
    assert re.fullmatch(r"<.*Untouchable object at 0x[0-9a-f]+>", shown(Untouchable()))


async def _coroutine() -> None:
    pass


class _AsyncCall:
    async def __call__(self) -> None:
        pass


@pytest.mark.parametrize("function", [None, len, dict, shown])
def test_a_plain_function_or_none_is_plain(function: object) -> None:
    """What is called without awaiting passes, as far as can be seen; so does None."""
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
    """What cannot be called, and what must be awaited, is a TypeError that shows it."""
    with pytest.raises(TypeError, match=f"^{re.escape(message)}"):
        check_sync_callable("weigh", function)


@pytest.mark.parametrize("count", [1, 2, 10**30])
def test_counts_are_ints_from_one_on(count: int) -> None:
    """Any positive int is a count."""
    check_count("size", count)


@pytest.mark.parametrize("count", [0, -1])
def test_counts_below_one_are_refused(count: int) -> None:
    """A count below 1 is a ValueError that shows it."""
    with pytest.raises(ValueError, match=rf"^size must be at least 1, not {count}$"):
        check_count("size", count)


@pytest.mark.parametrize("count", [True, 1.0, "1", None, Fraction(1)])
def test_counts_of_another_type_are_refused(count: object) -> None:
    """What is no int, or is a bool, is a TypeError that shows it."""
    with pytest.raises(TypeError, match=rf"^size must be an int, not {re.escape(repr(count))}$"):
        check_count("size", count)


@pytest.mark.parametrize("number", [0, 0.5, Fraction(1, 3), math.inf])
def test_any_real_number_will_do(number: float) -> None:
    """Ints, floats, Fractions and inf are numbers, from the least one on."""
    check_number("wait", number, least=0)
    check_positive("wait", number or 1)


@pytest.mark.parametrize("number", [-1, -0.5, Fraction(-1, 3), math.nan, -math.inf])
def test_numbers_that_are_too_small_are_refused(number: float) -> None:
    """A number below the least one, or NaN, is a ValueError that shows it."""
    value = re.escape(repr(number))
    with pytest.raises(ValueError, match=rf"^wait must be at least 0, not {value}$"):
        check_number("wait", number, least=0)
    with pytest.raises(ValueError, match=rf"^wait must be above 0, not {value}$"):
        check_positive("wait", number)


def test_zero_is_not_positive() -> None:
    """Zero is refused where a number must be above it."""
    with pytest.raises(ValueError, match=r"^wait must be above 0, not 0$"):
        check_positive("wait", 0)


@pytest.mark.parametrize("number", [True, "1", None, 1j, [1]])
def test_what_is_no_real_number_is_refused(number: object) -> None:
    """What is no real number, or is a bool, is a TypeError that shows it."""
    message = rf"^wait must be a real number, not {re.escape(repr(number))}$"
    with pytest.raises(TypeError, match=message):
        check_number("wait", number, least=0)
    with pytest.raises(TypeError, match=message):
        check_positive("wait", number)
    with pytest.raises(TypeError, match=message):
        check_finite("wait", number, least=0)


@pytest.mark.parametrize("number", [10**400, Fraction(10**400, 3)])
def test_numbers_that_no_float_can_hold_are_refused(number: float) -> None:
    """A number beyond all floats is a ValueError, for it could not be compared with one."""
    message = r"^wait must be a number that a float can hold, not "
    with pytest.raises(ValueError, match=message):
        check_number("wait", number, least=0)
    with pytest.raises(ValueError, match=message):
        check_positive("wait", number)
    check_count("size", 10**400)


@pytest.mark.parametrize("number", [math.inf, -math.inf])
def test_infinity_is_not_finite(number: float) -> None:
    """Neither infinity passes where a finite number is asked for."""
    with pytest.raises(ValueError, match=rf"^wait must be finite, not {number}$"):
        check_finite("wait", number, least=-math.inf)
    check_finite("wait", -7, least=-math.inf)


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
    """An int, a float or a Fraction of ints is as plain as a number can be."""
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
    """An integer is an int then, another rational number a Fraction, any other one a float."""
    became = as_plain(number)
    assert (type(plain), plain) == (type(became), became)


@pytest.mark.parametrize("parts", [(NarrowInteger(2), NarrowInteger(6)), (2, NarrowInteger(6))])
def test_a_fraction_of_other_integers_becomes_one_of_ints(parts: tuple[Any, Any]) -> None:
    """A Fraction keeps the type of what it is made of, and is plain only if that is int."""
    became = as_plain(Fraction(*parts))
    assert Fraction(1, 3) == became
    assert (int, int) == (type(became.numerator), type(became.denominator))


def test_a_number_with_too_many_digits_for_a_repr_is_refused_for_its_size() -> None:
    """Python does not print an int of more than 4,300 digits; the message is as of any other."""
    message = r"^wait must be a number that a float can hold, not <int object"
    with pytest.raises(ValueError, match=message):
        check_number("wait", 10**5000, least=0)
