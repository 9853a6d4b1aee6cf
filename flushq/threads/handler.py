"""The ready-made failure handler for threads."""

import inspect

from flushq.arguments import shown
from flushq.core.duplicates import discard
from flushq.judging import Judge, T, letters_of
from flushq.outcomes import Drop, Failure, Verdict
from flushq.telling import log_no_dead_letter
from flushq.threads.calls import check_not_async


class FailureHandler(Judge[T]):
    """A ready-made failure handler: it retries after temporary failures, and buries bad items.

    Pass it as ``on_failure``. It judges the exception that ``flush_fn`` raised, or after a
    PartialFailure the exception of each item:

    * If one of them is temporary (``retry``), the failed items are tried again.
    * Otherwise, if all of them belong to bad items (``split``), a batch is split until each bad
      item is alone; items that a PartialFailure names need no split. Each bad item is buried and
      then dropped.
    * Otherwise the queue ends, and the failed items are in doubt.

    If a dead letter cannot be written, the logger ``flushq`` gets an ERROR record, and the item is
    kept: after the pause of ``backoff``, ``flush_fn`` is called with the item again, and the
    handler tries to write the letter again, any number of times. If meanwhile the queue is closed
    and reaches ``max_shutdown_wait``, the item is in doubt. A letter may be written twice. If one
    letter of a PartialFailure cannot be written, the letters that were written before it may be
    written twice, too.

    Args:
        retry: The temporary exceptions, such as that of a lost connection: an exception class, a
            tuple of classes, or a plain function that returns whether an exception is temporary. If
            ``split`` names an exception, too, the batch is retried before it is split, and so is
            each half.
        split: The exceptions of a bad item, such as a value that the table refuses, in one of the
            same three forms.
        bury: A plain function that is called with a bad item and its exception, and saves both: a
            dead letter. None: a bad item ends the queue, and the items after it in its batch are in
            doubt, too, unless a PartialFailure has told that they were stored.
        attempts: The number of calls of ``flush_fn`` with the same items after which ``retry`` no
            longer applies. None: no limit, so set ``max_shutdown_wait``.
        backoff: A plain function of the Failure that returns the Retry. None:
            ``Retry.backoff(failure.attempt)``, which pauses for at most 30 seconds.

    Raises:
        TypeError: An argument is of the wrong type, a function is async, or there is a ``bury``
            without a ``split``.
        ValueError: ``attempts`` is below 1.
    """

    _check_bury = staticmethod(check_not_async)

    def __call__(self, failure: Failure[T]) -> Verdict:
        """Return the verdict on a failure, after writing the dead letters if it is Drop."""
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
