"""The decisions of the ready-made failure handlers; each driver's handler writes the dead letters.

Theory of operation. A batch fails with one exception. After a PartialFailure there is one exception
for each failed item instead. The first rule that applies decides::

    an exception is temporary, and attempts are left    retry, after a pause that grows
    an exception does not come from a bad item          end the queue: any item may be affected
    nobody knows which items are bad                    split the batch, until each item is alone
    there is no ``bury``                                end the queue
    the bad items are known                             write a dead letter for each, then drop them

If a dead letter cannot be written, the item is kept and the queue continues. It pauses as before a
retry, and then calls flush_fn with the item again. If the item fails again, the handler tries again
to write the letter. This is repeated until the letter is written or the flush is cut
short. So an item is never dropped before its letter was written. If the flush is cut short and the
letter was not written, the item is in doubt.
"""

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any, Generic

from flushq.arguments import check_callable, check_count, check_sync_callable, shown
from flushq.outcomes import Drop, Fail, Failure, Retry, Split, Verdict

if TYPE_CHECKING:  # before Python 3.13, TypeVar of typing has no ``default``
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)  # without ``bury`` no argument tells the type of the items
else:
    from typing import TypeVar

    T = TypeVar("T")

Errors = type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]
"""A choice of exceptions: those of one class, of several classes, or those a function accepts."""


class Judge(Generic[T]):
    """The decisions of a failure handler; each driver's FailureHandler describes the arguments."""

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
                raise TypeError("if bury is given, split must name the exceptions of bad items")
        check_sync_callable("backoff", backoff)
        self._may_pass = _matching("retry", retry)
        self._is_bad = _matching("split", split)
        self._attempts = attempts
        self._bury = bury
        self._backoff = _doubling if backoff is None else backoff

    def _verdict(self, failure: Failure[T]) -> Verdict:
        """Return the verdict on a failure; if it is a Drop, the caller must write dead letters."""
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
    """Return the failed items, each with its exception."""
    return zip(failure.items, failure.errors or repeat(failure.error), strict=False)


def _doubling(failure: Failure[T]) -> Retry:
    return Retry.backoff(failure.attempt)


def _matching(name: str, errors: Errors) -> Callable[[BaseException], bool]:
    """Return a function that tells whether an exception is one of ``errors``.

    Raises:
        TypeError: ``errors`` is not an exception class, a tuple of exception classes, or a plain
            function.
    """
    if not isinstance(errors, type) and callable(errors):
        check_sync_callable(name, errors)
        return partial(_answer_of, name, errors)
    classes = errors if isinstance(errors, tuple) else (errors,)
    if not all(map(_is_of_exceptions, classes)):
        what = "an exception class, a tuple of such classes, or a function that takes an exception"
        raise TypeError(f"{name} must be {what}, not {errors!r}")
    return lambda error: isinstance(error, classes)


def _answer_of(name: str, function: Callable[[BaseException], bool], error: BaseException) -> bool:
    """Call the function with the exception, and return its answer as a bool.

    Raises:
        TypeError: The function has returned an awaitable, which would always count as true.
    """
    answer: Any = function(error)
    if inspect.isawaitable(answer):
        raise TypeError(f"{name} must not be async: it returned {shown(answer)}")
    return bool(answer)


def _is_of_exceptions(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseException)
