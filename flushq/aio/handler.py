"""The ready-made failure handler for asyncio."""

import inspect

from flushq.aio.calls import is_failure
from flushq.judging import Judge, T, letters_of
from flushq.outcomes import Drop, Failure, Verdict
from flushq.telling import log_no_dead_letter


class FailureHandler(Judge[T]):
    """A ready-made failure handler: it retries calls, and writes dead letters for bad items.

    Pass it as ``on_failure``. It judges the exception that ``flush_fn`` raised. After a
    PartialFailure it judges the exceptions of the failed items. These are the rules:

    * If one of these exceptions is temporary (``retry``), and the limit ``attempts`` is not
      reached, ``flush_fn`` is called again with the failed items.
    * Otherwise, if all of these exceptions come from bad items (``split``), the batch is split
      until each bad item is alone. Items that a PartialFailure names need no split. Each bad item
      is passed to ``bury``, and then dropped.
    * Otherwise the queue ends, and the failed items are in doubt.

    If a dead letter cannot be written, the logger ``flushq`` gets an ERROR record, and the item is
    kept: after the pause from ``backoff``, ``flush_fn`` is called again with the item. If the item
    fails again, the handler tries again to write the letter, and so on, without a limit. The item
    is in doubt if meanwhile the flush is cancelled, or a close takes longer than
    ``max_shutdown_wait``. A letter may be written twice: if ``bury`` wrote it and then raised, or
    if afterwards another letter of the same PartialFailure could not be written.

    Args:
        retry: The temporary exceptions, for example those of a lost connection: an exception class,
            a tuple of classes, or a plain function that returns whether an exception is temporary.
            If an exception matches both ``retry`` and ``split``, the batch is retried before it is
            split, and so is each half.
        split: The exceptions that a bad item causes, for example those of a database that refuses a
            value, in one of the three forms that ``retry`` can have.
        bury: A function, plain or async, that is called with a bad item and its exception, and
            saves both as a dead letter. None: a bad item ends the queue. Then the items that
            follow it in the batch are in doubt, too, unless a PartialFailure says that they were
            delivered.
        attempts: The most calls of ``flush_fn`` with the same items: after so many calls ``retry``
            no longer applies. None: no limit; then ``max_shutdown_wait`` should be set, because a
            close waits for the calls.
        backoff: A plain function that gets the Failure and returns a Retry. None:
            ``Retry.backoff(failure.attempt)``, which pauses for at most 30 seconds.

    Raises:
        TypeError: An argument is of the wrong type, a function other than ``bury`` is async, or
            there is a ``bury`` without a ``split``.
        ValueError: ``attempts`` is below 1.
    """

    async def __call__(self, failure: Failure[T]) -> Verdict:
        """Return the verdict on a failure; if it is a Drop, write the dead letters first.

        If the flush is cancelled while a letter is written, the cancellation is raised, and the
        items are in doubt.
        """
        verdict = self._verdict(failure)
        if not isinstance(verdict, Drop):
            return verdict
        for item, error in letters_of(failure):
            try:
                await self._write(item, error)
            except BaseException as trouble:
                if not is_failure(trouble):
                    raise
                log_no_dead_letter(item, trouble)
                return self._backoff(failure)
        return verdict

    async def _write(self, item: T, error: BaseException) -> None:
        assert self._bury is not None
        written = self._bury(item, error)
        if inspect.isawaitable(written):
            await written
