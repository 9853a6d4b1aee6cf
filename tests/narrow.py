"""Numbers of 16 bits, which are registered as numbers and whose sums wrap around.

The numbers of array libraries wrap around, too. These numbers are the worst case: a number that
they are compared with also wraps around.
"""

import numbers
from typing import Any

WRAP = 2**16


class Narrow:
    """A number of 16 bits."""

    def __init__(self, value: int) -> None:
        self._value = value % WRAP

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._value})"

    def __float__(self) -> float:
        return float(self._value)

    def __add__(self, other: Any) -> "Narrow":
        return type(self)(self._value + int(other))

    __radd__ = __add__

    def __lt__(self, other: Any) -> bool:
        return self._value < int(other) % WRAP

    def __gt__(self, other: Any) -> bool:
        return self._value > int(other) % WRAP

    def __le__(self, other: Any) -> bool:
        return not self > other

    def __ge__(self, other: Any) -> bool:
        return not self < other

    def __int__(self) -> int:
        return self._value


@numbers.Real.register
class NarrowReal(Narrow):
    """A real number of 16 bits."""


@numbers.Rational.register
class NarrowRational(Narrow):
    """A rational number of 16 bits, whose denominator is 1."""

    @property
    def numerator(self) -> "NarrowInteger":
        """The number as an integer of 16 bits."""
        return NarrowInteger(self._value)

    @property
    def denominator(self) -> "NarrowInteger":
        """One."""
        return NarrowInteger(1)


@numbers.Integral.register
class NarrowInteger(NarrowRational):
    """An integer of 16 bits, which can be converted to a Fraction."""

    __index__ = Narrow.__int__

    def __mul__(self, other: Any) -> "NarrowInteger":
        return NarrowInteger(self._value * int(other))

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> "NarrowInteger":
        return NarrowInteger(self._value // int(other))
