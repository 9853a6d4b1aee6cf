"""The ready failure handler for asyncio."""

import inspect

from flushq.aio.calls import is_failure
from flushq.judging import Judge, T, letters_of
from flushq.outcomes import Drop, Failure, Verdict
from flushq.telling import tell_unburied


class FailureHandler(Judge[T]):
    """A failure handler that is ready: it tries again what may pass, and buries bad items.

    It is passed as ``on_failure``. It judges the exceptions of a PartialFailure by themselves, and
    else what ``flush_fn`` raised. If one of them may pass (``retry``), what failed is tried again.
    If all are those of bad items (``split``), a batch is split until the bad items are alone; those
    that a PartialFailure names need not be. Each is buried, and dropped after that. Everything else
    ends the queue: what failed is in doubt.

    If a dead letter cannot be written, an error of the logger ``flushq`` says so, and the item is
    kept: it is handed over again after the pause of ``backoff``, and its letter is tried again, any
    number of times. If the queue is closed meanwhile and reaches ``max_shutdown_wait``, or the
    flush is cancelled, it is in doubt. A letter may be written twice, as may those of the other
    items of a PartialFailure whose letters were written before.

    Args:
        retry: What may pass, such as a connection that is lost: a class of exceptions, a tuple of
            classes, or a plain function that tells it of an exception. What ``split`` names too is
            tried again first, and so is each half.
        split: Which exceptions are those of a bad item, such as a value that the table refuses, in
            the same three ways.
        bury: Is called with a bad item and its exception, and saves both: a dead letter. It is
            plain or async. None: a bad item ends the queue, and what comes after it in its batch is
            in doubt, too, unless a PartialFailure has told that it was stored.
        attempts: How many times ``flush_fn`` is called with the same items before ``retry`` counts
            no more. None: as long as it takes, so set ``max_shutdown_wait``.
        backoff: A plain function of the Failure that returns the Retry. None:
            ``Retry.backoff(failure.attempt)``, which pauses 30 seconds at most.

    Raises:
        TypeError: An argument is of the wrong type, ``backoff`` or a function for ``retry`` or
            ``split`` is async, or there is a ``bury`` and nothing to ``split``.
        ValueError: ``attempts`` is below 1.
    """

    async def __call__(self, failure: Failure[T]) -> Verdict:
        """Judge a failure, and write the dead letters if it is time to.

        A cancellation of the flush during a letter goes on: the items are in doubt.
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
                tell_unburied(item, trouble)
                return self._backoff(failure)
        return verdict

    async def _write(self, item: T, error: BaseException) -> None:
        assert self._bury is not None
        written = self._bury(item, error)
        if inspect.isawaitable(written):
            await written
