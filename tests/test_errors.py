"""The classes of errors match the tree in the docstring, and errors tell what was lost."""

import copy
import pickle
import re

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
)

REFUSALS = [QueueFull, QueueClosed, ItemTooLarge]
ENDS = [FlushFailed, ShutdownTimeout, PolicyError]

LINE = re.compile(r"    (?P<lead>[│├└─ ]*)(?P<name>\w+)(.*\(also a (?P<also>\w+)\))?.*")


def drawn_tree() -> dict[str, set[str]]:
    """Return the bases of each class according to the tree in the docstring of the module."""
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


@pytest.mark.parametrize("kind", ENDS)
def test_an_end_says_how_much_was_lost_by_now(kind: type[QueueEnded]) -> None:
    """An error carries the lists of the queue, not copies, and its text tells their lengths."""
    undelivered, in_doubt = ["a"], ["b"]
    error = kind("it is over", undelivered, in_doubt)
    assert "it is over (1 undelivered, 1 in doubt)" == str(error)
    undelivered.append("c")
    in_doubt.clear()
    assert (undelivered, in_doubt) == (error.undelivered, error.in_doubt)
    assert "it is over (2 undelivered, 0 in doubt)" == str(error)


@pytest.mark.parametrize("kind", ENDS)
def test_ends_made_without_lists_share_none(kind: type[QueueEnded]) -> None:
    """An error that is made without lists has empty lists of its own."""
    kind("first").undelivered.append(1)
    kind("first").in_doubt.append(1)
    assert ([], []) == (kind("second").undelivered, kind("second").in_doubt)


@pytest.mark.parametrize(
    "error",
    [
        *(kind("it is over") for kind in (FlushqError, *REFUSALS)),
        *(kind("it is over", [1], [2, 3]) for kind in (QueueEnded, *ENDS)),
        ItemFailed(7, OSError("disk full")),
        Dropped(7, OSError("disk full")),
        PartialFailure({1: OSError("disk full")}),
    ],
    ids=type,
)
def test_errors_survive_pickling_and_copying(error: Exception) -> None:
    """A copied or unpickled error has the same class, the same attributes and the same text."""
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(error) is type(other)
        assert str(error) == str(other)
        assert repr(vars(error)) == repr(vars(other))


def test_a_partial_failure_carries_its_mapping() -> None:
    """A PartialFailure keeps the mapping that it was given."""
    errors = {1: OSError("disk full")}
    error = PartialFailure(errors)
    assert errors is error.errors
    assert "{1: OSError('disk full')}" == str(error)


LOST = [(ItemFailed, "failed"), (Dropped, "was dropped")]


@pytest.mark.parametrize(("kind", "end"), LOST)
def test_the_error_of_an_item_tells_which_and_why(kind: type[ItemFailed], end: str) -> None:
    """The error carries the item, has the sink's exception as its cause, and shows both."""
    cause = OSError("disk full")
    error = kind({"id": 7}, cause)
    assert ({"id": 7}, cause) == (error.item, error.__cause__)
    assert f"{{'id': 7}} {end}: OSError('disk full')" == str(error)
    assert not isinstance(error, QueueEnded)


@pytest.mark.parametrize(("kind", "end"), LOST)
def test_a_long_item_is_shown_in_short(kind: type[ItemFailed], end: str) -> None:
    """A long item is shortened in the text; the rest of the text and the item do not change."""
    error = kind("x" * 10_000, OSError())
    assert 80 > len(str(error))
    assert end in str(error)
    assert 10_000 == len(error.item)  # type: ignore[arg-type]  # it is the string


class Untouchable(Exception):
    """An exception whose objects have no repr."""

    def __repr__(self) -> str:
        raise AttributeError("no repr")


def test_an_item_and_a_cause_that_cannot_be_shown() -> None:
    """The text of an error never raises."""
    text = str(ItemFailed(Untouchable(), Untouchable()))
    assert re.fullmatch(r"<Untouchable instance at .*> failed: <.*Untouchable object at .*>", text)


def test_a_loss_is_not_taken_for_a_slow_delivery() -> None:
    """A timeout around a receipt does not catch the ShutdownTimeout that the receipt raises."""
    assert not issubclass(ShutdownTimeout, TimeoutError)
