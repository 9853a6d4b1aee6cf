"""The ready failure handler for threads."""

import inspect

from flushq.arguments import shown
from flushq.core.duplicates import discard
from flushq.judging import Judge, T, letters_of
from flushq.outcomes import Drop, Failure, Verdict
from flushq.telling import tell_unburied
from flushq.threads.calls import check_plain


class FailureHandler(Judge[T]):
    """A failure handler that is ready: as ``flushq.FailureHandler``, for a queue of threads.

    It tries again what may pass, splits a batch until its bad items are alone, buries each of
    these, and drops it after that. An item whose dead letter cannot be written is kept and handed
    over again, any number of times; an error of the logger ``flushq`` says so. If the queue reaches
    ``max_shutdown_wait`` meanwhile, it is in doubt.

    Args:
        retry, split, attempts, backoff: As of a ``flushq.FailureHandler``.
        bury: Is called with a bad item and its exception, and saves both: a plain function. None: a
            bad item ends the queue.

    Raises:
        TypeError: An argument is of the wrong type, a function is async, or there is a ``bury`` and
            nothing to ``split``.
        ValueError: ``attempts`` is below 1.
    """

    _check_bury = staticmethod(check_plain)

    def __call__(self, failure: Failure[T]) -> Verdict:
        """Judge a failure, and write the dead letters if it is time to."""
        verdict = self._verdict(failure)
        if not isinstance(verdict, Drop):
            return verdict
        for item, error in letters_of(failure):
            try:
                self._write(item, error)
            except Exception as trouble:
                tell_unburied(item, trouble)
                return self._backoff(failure)
        return verdict

    def _write(self, item: T, error: BaseException) -> None:
        assert self._bury is not None
        written = self._bury(item, error)
        if inspect.isawaitable(written):
            discard(written)
            raise TypeError(f"bury must not be async: it returned {shown(written)}")
