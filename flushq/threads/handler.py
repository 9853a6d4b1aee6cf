"""The ready-made failure handler for threads."""

import inspect

from flushq.arguments import shown
from flushq.core.duplicates import discard
from flushq.judging import Judge, T, letters_of
from flushq.outcomes import Drop, Failure, Verdict
from flushq.telling import log_no_dead_letter
from flushq.threads.calls import check_not_async


class FailureHandler(Judge[T]):
    """A ready-made failure handler for threads: it retries, splits batches and buries bad items.

    Pass it as ``on_failure``. It judges the exceptions of a PartialFailure one by one, and any
    other exception of ``flush_fn`` as the exception of all items:

    * If ``retry`` matches one of the exceptions, all items that failed are retried.
    * Otherwise, if ``split`` matches all of them, the batch is split until each bad item is alone,
      unless a PartialFailure names the bad items. Each bad item is buried and then dropped.
    * Otherwise the queue ends, and the items that failed are in doubt.

    If a dead letter cannot be written, an error of the logger ``flushq`` says so, and the item is
    kept: it is handed over again after the pause of ``backoff``, and its letter is tried again, any
    number of times. If the queue reaches ``max_shutdown_wait`` meanwhile, the item is in doubt. A
    letter may be written twice, also for the other items of a PartialFailure.

    Args:
        retry: The exceptions that are worth a retry, such as a lost connection: a class of
            exceptions, a tuple of classes, or a plain function that returns whether it matches an
            exception. If ``split`` matches the exception, too, the retries come first, also for
            each half.
        split: The exceptions of a bad item, such as a value that the table refuses; given in the
            same three ways.
        bury: A plain function that is called with a bad item and its exception, and saves both: a
            dead letter. None: a bad item ends the queue, and the items after it in its batch are in
            doubt, too, unless a PartialFailure says that they were stored.
        attempts: The number of calls of ``flush_fn`` with the same items after which ``retry`` no
            longer applies. None: no limit, so set ``max_shutdown_wait``.
        backoff: A plain function of the Failure that returns the Retry. None:
            ``Retry.backoff(failure.attempt)``, which pauses at most 30 seconds.

    Raises:
        TypeError: An argument has the wrong type, a function is async, or ``bury`` is given without
            ``split``.
        ValueError: ``attempts`` is below 1.
    """

    _check_bury = staticmethod(check_not_async)

    def __call__(self, failure: Failure[T]) -> Verdict:
        """Return the verdict on a failure; write a dead letter for each item before a Drop."""
        verdict = self._verdict(failure)
        if not isinstance(verdict, Drop):
            return verdict
        for item, error in letters_of(failure):
            try:
                self._write(item, error)
            except Exception as trouble:
                log_no_dead_letter(item, trouble)
                return self._backoff(failure)
        return verdict

    def _write(self, item: T, error: BaseException) -> None:
        assert self._bury is not None
        written = self._bury(item, error)
        if inspect.isawaitable(written):
            discard(written)
            raise TypeError(f"bury must not be async: it returned {shown(written)}")
