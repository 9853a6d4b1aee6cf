"""Work for several processes, as strict about warnings as pytest is."""

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
    """Yield the result of each task, in order; ``work`` is a function of a module.

    The coverage is not measured there: that would take several times as long.
    """
    with mock.patch.dict(os.environ):
        os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
        pool = multiprocessing.get_context("spawn").Pool(processes, _prepare)
    with pool:
        yield from pool.imap(work, tasks)


def _prepare() -> None:
    warnings.simplefilter("error")
    gc.set_threshold(50_000)  # what is played leaves much garbage in circles, and soon ends
