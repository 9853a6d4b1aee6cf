"""The tree of errors is as drawn, the errors say what was lost, and bad arguments are refused."""

import copy
import math
import pickle
import re
from fractions import Fraction

import pytest

from flushq import errors
from flushq.errors import (
    Dropped,
    FlushFailed,
    FlushqError,
    ItemFailed,
    ItemTooLarge,
    PartialFailure,
    PolicyError,
    QueueClosed,
    QueueEnded,
    QueueFull,
    ShutdownTimeout,
    check_count,
    check_finite,
    check_number,
    check_plain,
    check_positive,
    shown,
)

REFUSALS = [QueueFull, QueueClosed, ItemTooLarge]
ENDS = [FlushFailed, ShutdownTimeout, PolicyError]

LINE = re.compile(r"    (?P<lead>[│├└─ ]*)(?P<name>\w+)(.*\(also a (?P<also>\w+)\))?.*")


def drawn_tree() -> dict[str, set[str]]:
    """The names of the bases of each class, as the module docstring draws them."""
    assert errors.__doc__ is not None
    drawing = errors.__doc__.split("::\n\n")[1].split("\n\n")[0]
    parents: dict[int, str] = {-4: "Exception"}
    bases = {}
    for line in map(LINE.fullmatch, drawing.splitlines()):
        assert line is not None
        depth = len(line["lead"])
        bases[line["name"]] = {parents[depth - 4], line["also"]} - {None}
        parents[depth] = line["name"]
    return bases


def test_docstring_draws_the_classes() -> None:
    """The tree in the docstring shows every class of the module, with its bases."""
    classes = [error for error in vars(errors).values() if isinstance(error, type)]
    defined = [error for error in classes if issubclass(error, FlushqError)]
    assert {e.__name__: {b.__name__ for b in e.__bases__} for e in defined} == drawn_tree()


@pytest.mark.parametrize(
    ("error", "builtin"),
    [(QueueClosed, RuntimeError), (ItemTooLarge, ValueError), (ShutdownTimeout, TimeoutError)],
)
def test_errors_are_also_what_python_calls_them(
    error: type[FlushqError], builtin: type[Exception]
) -> None:
    """An error can be caught as the builtin that it is a case of."""
    assert issubclass(error, builtin)


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_refusal_is_no_end(kind: type[FlushqError]) -> None:
    """An error that refuses one item does not count as the end of the queue."""
    assert not issubclass(kind, QueueEnded)
    assert "no room" == str(kind("no room"))


@pytest.mark.parametrize("kind", ENDS)
def test_an_end_carries_the_very_lists_it_is_given(kind: type[QueueEnded]) -> None:
    """The lists of an error are those of the queue, not copies."""
    undelivered, in_doubt = [1], [2, 3]
    error = kind("it is over", undelivered, in_doubt)
    assert error.undelivered is undelivered
    assert error.in_doubt is in_doubt


@pytest.mark.parametrize("kind", ENDS)
def test_an_end_says_how_much_was_lost_by_now(kind: type[QueueEnded]) -> None:
    """The text shows the message and the lengths of both lists at the time it is asked for."""
    error = kind("it is over", ["a"])
    assert "it is over (1 undelivered, 0 in doubt)" == str(error)
    error.in_doubt += ["b", "c"]
    assert "it is over (1 undelivered, 2 in doubt)" == str(error)


@pytest.mark.parametrize("kind", ENDS)
def test_ends_made_without_lists_share_none(kind: type[QueueEnded]) -> None:
    """Each error that is given no lists has empty ones of its own."""
    kind("first").undelivered.append(1)
    kind("first").in_doubt.append(1)
    assert ([], []) == (kind("second").undelivered, kind("second").in_doubt)


@pytest.mark.parametrize("kind", [FlushqError, QueueEnded, *REFUSALS, *ENDS])
def test_errors_survive_pickling_and_copying(kind: type[FlushqError]) -> None:
    """A copy or an unpickled error is of the same kind and says the same."""
    lists = ([1], [2, 3]) if issubclass(kind, QueueEnded) else ()
    error = kind("it is over", *lists)
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert kind is type(other)
        assert str(error) == str(other)
        assert error.args == other.args
        assert vars(error) == vars(other)


LOST = [(ItemFailed, "failed"), (Dropped, "was dropped")]


@pytest.mark.parametrize(("kind", "end"), LOST)
def test_the_error_of_an_item_tells_which_and_why(kind: type[ItemFailed], end: str) -> None:
    """It carries the item, has the sink's exception as its cause, and shows both."""
    cause = OSError("disk full")
    error = kind({"id": 7}, cause)
    assert ({"id": 7}, cause) == (error.item, error.__cause__)
    assert f"{{'id': 7}} {end}: OSError('disk full')" == str(error)
    assert not isinstance(error, QueueEnded)


@pytest.mark.parametrize(("kind", "end"), LOST)
def test_a_long_item_is_shown_in_short(kind: type[ItemFailed], end: str) -> None:
    """An item is shortened in the text, however long it is, and never alters it otherwise."""
    error = kind("x" * 10_000, OSError())
    assert 80 > len(str(error))
    assert end in str(error)
    assert 10_000 == len(error.item)  # type: ignore[arg-type]  # it is the string


class Untouchable(Exception):
    """What cannot be shown."""

    def __repr__(self) -> str:
        raise AttributeError("no repr")


def test_an_item_and_a_cause_that_cannot_be_shown() -> None:
    """The text of an error never raises."""
    text = str(ItemFailed(Untouchable(), Untouchable()))
    assert re.fullmatch(r"<Untouchable instance at .*> failed: <.*Untouchable object at .*>", text)


@pytest.mark.parametrize(("kind", "end"), LOST)
def test_the_error_of_an_item_survives_pickling_and_copying(
    kind: type[ItemFailed], end: str
) -> None:
    """A copy or an unpickled error is of the same kind, about the same item, for the same cause."""
    error = kind(7, OSError("disk full"))
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert (kind, 7) == (type(other), other.item)
        assert f"7 {end}: OSError('disk full')" == str(other)


def test_a_partial_failure_carries_its_mapping() -> None:
    """The mapping is the one that it was given; a copy or an unpickled one is equal."""
    errors = {1: OSError("disk full")}
    error = PartialFailure(errors)
    assert errors is error.errors
    assert "{1: OSError('disk full')}" == str(error)
    assert [1] == list(pickle.loads(pickle.dumps(error)).errors)
    assert errors == copy.copy(error).errors


def test_a_partial_failure_may_have_no_flaw() -> None:
    """Every index of the batch may be named, with any exception."""
    error = PartialFailure({0: OSError(), 2: KeyboardInterrupt(), 1: FlushqError()})
    assert error.flaw(3) is None
    assert "2 is no index of a batch of 2 items" == error.flaw(2)


def test_a_flaw_is_told_of_what_cannot_be_shown() -> None:
    """A value that is no exception, and has no repr, is told of all the same."""

    class Thing:
        __repr__ = Untouchable.__repr__

    flaw = PartialFailure({0: Thing()}).flaw(1)  # type: ignore[dict-item]  # the flaw
    assert flaw is not None
    assert re.fullmatch(r"<.*Thing object at .*>, of index 0, is no exception", flaw)


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
    check_plain("weigh", function)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (7, "weigh must be callable, not 7"),
        (_coroutine, "weigh must not be async: <function _coroutine at "),
        (_AsyncCall(), "weigh must not be async: <tests.test_errors._AsyncCall object at "),
    ],
)
def test_what_is_not_plain_is_refused(function: object, message: str) -> None:
    """What cannot be called, and what must be awaited, is a TypeError that shows it."""
    with pytest.raises(TypeError, match=f"^{re.escape(message)}"):
        check_plain("weigh", function)


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
