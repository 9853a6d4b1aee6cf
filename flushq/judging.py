"""What the ready failure handlers decide; that of each driver writes the dead letters.

Theory of operation. A batch fails with one exception, or after a PartialFailure with one for each
item that failed. They decide, in this order::

    one of them may pass, and attempts are left     try again, after a pause that grows
    one of them is not that of a bad item           end the queue: it is the fault of every item
    nobody knows which item is bad                  split the batch, until an item is alone
    it is known which items are bad                 bury each: write a dead letter, then drop it

A letter that cannot be written costs neither the item nor the queue: the item is handed over again
after the pause of a retry, fails again, and its letter is tried again, until the queue is closed.
So an item is dropped only after its letter was written, and is in doubt if that never was.
"""

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any, Generic

from flushq.arguments import check_callable, check_count, check_sync_callable, shown
from flushq.outcomes import Drop, Fail, Failure, Retry, Split, Verdict

if TYPE_CHECKING:  # Python 3.13 has it in typing
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)  # if there is no bury that tells
else:
    from typing import TypeVar

    T = TypeVar("T")

Errors = type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]
"""Which exceptions: those of a class, of some classes, or those for which a function is true."""


class Judge(Generic[T]):
    """The decisions of a failure handler; its arguments are told by those who have a driver."""

    _check_bury: Callable[[str, object], None] = staticmethod(check_callable)

    def __init__(
        self,
        *,
        retry: Errors = (),
        split: Errors = (),
        bury: Callable[[T, BaseException], object] | None = None,
        attempts: int | None = None,
        backoff: Callable[[Failure[T]], Retry] | None = None,
    ) -> None:
        if attempts is not None:
            check_count("attempts", attempts)
        if bury is not None:
            self._check_bury("bury", bury)
            if split == ():
                raise TypeError("bury is called with what split names, and split names nothing")
        check_sync_callable("backoff", backoff)
        self._may_pass = _matching("retry", retry)
        self._is_bad = _matching("split", split)
        self._attempts = attempts
        self._bury = bury
        self._backoff = _doubling if backoff is None else backoff

    def _verdict(self, failure: Failure[T]) -> Verdict:
        """What is to be done; Drop: once a letter is written for each of the items."""
        errors = failure.errors or [failure.error]
        if self._may_try_again(failure) and any(map(self._may_pass, errors)):
            return self._backoff(failure)
        if not all(map(self._is_bad, errors)):
            return Fail()
        if failure.errors is None and len(failure.items) > 1:
            return Split()
        return Fail() if self._bury is None else Drop()

    def _may_try_again(self, failure: Failure[T]) -> bool:
        return self._attempts is None or failure.attempt < self._attempts


def letters_of(failure: Failure[T]) -> Iterator[tuple[T, BaseException]]:
    """Each item that failed, and its exception."""
    return zip(failure.items, failure.errors or repeat(failure.error), strict=False)


def _doubling(failure: Failure[T]) -> Retry:
    return Retry.backoff(failure.attempt)


def _matching(name: str, errors: Errors) -> Callable[[BaseException], bool]:
    """Whether an exception is one of these.

    Raises:
        TypeError: They are not said in one of the three ways.
    """
    if not isinstance(errors, type) and callable(errors):
        check_sync_callable(name, errors)
        return partial(_tells, name, errors)
    classes = errors if isinstance(errors, tuple) else (errors,)
    if not all(map(_is_of_exceptions, classes)):
        what = "a class of exceptions, a tuple of such classes, or a function of an exception"
        raise TypeError(f"{name} must be {what}, not {errors!r}")
    return lambda error: isinstance(error, classes)


def _tells(name: str, function: Callable[[BaseException], bool], error: BaseException) -> bool:
    """What the function tells; an awaitable is not false, and would make all errors those of items.

    Raises:
        TypeError: It has returned an awaitable.
    """
    answer: Any = function(error)
    if inspect.isawaitable(answer):
        raise TypeError(f"{name} must not be async: it returned {shown(answer)}")
    return bool(answer)


def _is_of_exceptions(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseException)
