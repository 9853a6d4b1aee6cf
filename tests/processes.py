"""Work in several processes, where a warning is an error, as under pytest."""

import gc
import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar
from unittest import mock

Task = TypeVar("Task")
Result = TypeVar("Result")


def spread(
    work: Callable[[Task], Result], tasks: Iterable[Task], processes: int
) -> Iterator[Result]:
    """Yield the result of each task, in order; ``work`` must be a function of a module.

    The processes do not measure coverage: that would take several times as long.
    """
    with mock.patch.dict(os.environ):
        os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
        pool = multiprocessing.get_context("spawn").Pool(processes, _prepare)
    with pool:
        yield from pool.imap(work, tasks)


def _prepare() -> None:
    warnings.simplefilter("error")
    gc.set_threshold(50_000)  # sessions leave many reference cycles, and the process is short-lived
