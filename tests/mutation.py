"""Mutation testing: make each small change to the code, and see whether a test fails.

    python -m tests.mutation                              all files
    python -m tests.mutation flushq/aio/queue.py          one file
    python -m tests.mutation --sample 100 --seed 7        100 random mutants of each file
    python -m tests.mutation flushq/policy.py --only 3,17 only the mutants with these numbers

A mutant is the source of a file with one change (`tests.mutants`). Each mutant is tried in a
process of its own, which is forked from a process that has loaded pytest. It imports the mutant in
place of the file, and runs a selection of tests until the first one fails. Nothing is written into
the checkout. A mutant also counts as found if its process takes far more time or memory than that
of the unchanged file. Survivors are printed as diffs.
"""

import argparse
import difflib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import random
import resource
import signal
import sys
import time
import types
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import hypothesis
import pytest

from tests.mutants import Mutant, mutants

ROOT = Path(__file__).parents[1]

CORE_SESSIONS, SESSIONS = (
    " ".join(
        f"tests/test_sessions.py::test_sessions_keep_the_contract[{first}-{kind}]"
        for first in range(0, 300, 50)
    )
    for kind in ("core", "queue")
)
THREADS = "tests/threads"
LAWS = "tests/test_policy_laws.py"
STATEFUL = "tests/policies/test_shared.py"
MISTAKES = "tests/field/test_work_mistakes.py"
WORK = "tests/field/test_work.py tests/field/test_worker.py"
LAB = "tests/cli/test_lab.py tests/cli/test_report.py tests/cli/test_simulate.py"
STREAMS = "tests/contract/test_s01_reading.py tests/contract/test_s02_leaving.py"
THROTTLES = "tests/threads/test_throttles.py"
BOUNDS = (
    "tests/contract/test_m_merging.py tests/contract/test_b_bounds.py tests/threads/test_bounds.py"
)
PARTITIONS = " ".join(
    f"tests/contract/test_{name}.py"
    for name in ("p01_key", "p02_life", "p03_turns", "p06_room", "p08_outcomes", "p10_cost")
)

# The quick tests, and those that are likely to fail, come first; each line is a run of pytest.
TESTS: dict[str, tuple[str, ...]] = {
    "flushq/core/admission.py": (
        "tests/core/test_admission.py tests/core/test_core.py",
        CORE_SESSIONS,
        SESSIONS,
        "tests/contract/test_07_backpressure.py tests/contract/test_08_fairness.py",
        "tests/contract/test_14_reentrancy.py tests/contract/test_15_bad_arguments.py",
    ),
    "flushq/core/attempts.py": (
        "tests/core/test_attempts.py",
        CORE_SESSIONS,
        "tests/contract/test_18_partial_failure.py tests/contract/test_18_failure_handler.py",
        "tests/test_simulation.py",
    ),
    "flushq/core/batch.py": (
        "tests/core",
        CORE_SESSIONS,
        SESSIONS,
        "tests/contract/test_21_reports.py tests/contract/test_09_flush.py",
    ),
    "flushq/core/batcher.py": (
        "tests/core/test_batcher.py",
        CORE_SESSIONS,
        SESSIONS,
        "tests/contract/test_15_bad_policies.py tests/contract/test_12_failure.py",
        "tests/contract/test_15_bad_arguments.py tests/contract/test_21_names.py",
    ),
    "flushq/core/buffer.py": (
        "tests/core/test_buffer.py",
        CORE_SESSIONS,
        "tests/contract/test_15_bad_arguments.py tests/contract/test_16_dedupe.py",
        "tests/contract/test_19_receipts.py tests/contract/test_02_at_any_moment.py",
    ),
    "flushq/core/core.py": ("tests/core/test_core.py", CORE_SESSIONS, SESSIONS, "tests/contract"),
    "flushq/core/fairness.py": (
        "tests/core/test_admission.py",
        CORE_SESSIONS,
        "tests/contract/test_08_fairness.py",
    ),
    "flushq/core/displacing.py": (
        "tests/core/test_admission.py",
        CORE_SESSIONS,
        BOUNDS,
        SESSIONS,
    ),
    "flushq/core/losses.py": (
        "tests/core/test_losses.py",
        "tests/contract/test_15_bad_arguments.py",
    ),
    "flushq/core/merging.py": (CORE_SESSIONS, BOUNDS),
    "flushq/core/starts.py": ("tests/core/test_starts.py", CORE_SESSIONS, THROTTLES),
    "flushq/core/running_throttle.py": ("tests/core/test_starts.py", CORE_SESSIONS, THROTTLES),
    "flushq/core/partition.py": (PARTITIONS,),
    "flushq/core/partition_heap.py": ("tests/core/test_partition_heap.py", PARTITIONS),
    "flushq/core/partitioned_batcher.py": (PARTITIONS, "tests/core/test_partitioned_batcher.py"),
    "flushq/core/partitioned_buffer.py": ("tests/core/test_partitioned_buffer.py", PARTITIONS),
    "flushq/core/policy_template.py": ("tests/core/test_policy_template.py",),
    "flushq/core/receipts.py": (
        "tests/core/test_receipts.py",
        CORE_SESSIONS,
        "tests/contract/test_19_receipts.py tests/aio/test_receipts.py",
        "tests/threads/test_t01_acceptance.py",
    ),
    "flushq/core/barriers.py": (
        "tests/core/test_core.py",
        CORE_SESSIONS,
        "tests/contract/test_09_flush.py",
    ),
    "flushq/core/caps.py": (
        "tests/core/test_buffer.py",
        CORE_SESSIONS,
        "tests/contract/test_04_caps.py tests/contract/test_15_bad_arguments.py",
    ),
    "flushq/core/duplicates.py": (
        "tests/core/test_buffer.py",
        CORE_SESSIONS,
        "tests/contract/test_16_dedupe.py tests/contract/test_15_bad_arguments.py",
    ),
    "flushq/core/ending.py": ("tests/core/test_core.py", CORE_SESSIONS, SESSIONS, "tests/contract"),
    "flushq/core/running_policy.py": (
        "tests/core/test_batcher.py tests/core/test_core.py",
        CORE_SESSIONS,
        "tests/contract/test_15_bad_policies.py tests/contract/test_13_clock_and_context.py",
    ),
    "flushq/core/view.py": (CORE_SESSIONS, SESSIONS, "tests/contract/test_21_stats.py"),
    "flushq/core/waiter.py": ("tests/core",),
    "flushq/core/waitlist.py": (
        "tests/core/test_waitlist.py",
        CORE_SESSIONS,
        SESSIONS,
        "tests/contract/test_07_backpressure.py tests/contract/test_08_fairness.py",
    ),
    "flushq/aio/batched.py": (
        "tests/aio/test_receipts.py tests/contract/test_20_batched.py",
        "tests/contract/test_21_names.py",
    ),
    "flushq/aio/calls.py": (
        "tests/aio/test_calls.py",
        "tests/contract/test_18_failure_handler.py",
        "tests/contract/test_18_failure_ends.py tests/contract/test_18_partial_failure.py",
        "tests/contract/test_12_failure.py tests/contract/test_14_reentrancy.py",
        "tests/contract/test_19_receipts.py",
    ),
    "flushq/aio/queue.py": (SESSIONS, "tests/aio/test_receipts.py", "tests/contract"),
    "flushq/aio/receipt.py": (SESSIONS, "tests/aio/test_receipts.py", "tests/contract"),
    "flushq/aio/runner.py": (SESSIONS, "tests/aio/test_runner.py", "tests/contract"),
    "flushq/aio/cancellation.py": (SESSIONS, "tests/contract"),
    "flushq/aio/producers.py": (SESSIONS, "tests/contract"),
    "flushq/threads/batched.py": ("tests/threads/test_contract.py", THREADS),
    "flushq/threads/calls.py": ("tests/threads/test_contract.py", THREADS),
    "flushq/threads/interrupts.py": ("tests/threads/test_t05_limits.py", THREADS),
    "flushq/threads/keeper.py": ("tests/threads/test_driver.py", THREADS),
    "flushq/threads/primitives.py": ("tests/threads/test_contract.py", THREADS),
    "flushq/threads/process.py": ("tests/threads/test_driver.py", THREADS),
    "flushq/threads/entrance.py": ("tests/threads/test_contract.py", THREADS),
    "flushq/threads/queue.py": ("tests/threads/test_contract.py", THREADS),
    "flushq/threads/receipt.py": ("tests/threads/test_contract.py", THREADS),
    "flushq/threads/runner.py": ("tests/threads/test_contract.py", THREADS),
    "flushq/threads/workers.py": ("tests/threads/test_contract.py", THREADS),
    "flushq/inside.py": ("tests/threads/test_contract.py", "tests/contract/test_14_reentrancy.py"),
    "flushq/streams.py": ("tests/test_streams.py", STREAMS, "tests/threads/test_s01_stream.py"),
    "flushq/aio/stream.py": (STREAMS,),
    "flushq/threads/stream.py": (
        STREAMS,
        "tests/threads/test_s01_stream.py",
        "tests/threads/test_t08_processes.py",
    ),
    "flushq/requests.py": ("tests/threads/test_contract.py", "tests/contract/test_20_batched.py"),
    "flushq/judging.py": ("tests/test_judging.py",),
    "flushq/aio/handler.py": ("tests/test_judging.py",),
    "flushq/threads/handler.py": ("tests/test_judging.py",),
    "flushq/services.py": ("tests/test_services.py",),
    "flushq/telling.py": ("tests/threads", "tests/contract/test_21_reports.py", "tests/contract"),
    "flushq/facts.py": ("tests/test_policy.py", f"tests/policies {LAWS}"),
    "flushq/policy.py": ("tests/test_policy.py", f"tests/policies {LAWS}"),
    "flushq/offline.py": ("tests/test_offline.py",),
    "flushq/policies/alarm.py": (f"tests/policies/test_alarm.py {STATEFUL}", LAWS),
    "flushq/policies/budget.py": (f"tests/policies/test_budget.py {STATEFUL}", LAWS),
    "flushq/arguments.py": ("tests/test_arguments.py", "tests/throttles tests/test_policy.py"),
    "flushq/throttles/breaker.py": ("tests/throttles",),
    "flushq/throttles/rate.py": ("tests/throttles",),
    "flushq/throttles/throttle.py": ("tests/throttles",),
    "flushq/outcomes.py": ("tests/test_outcomes.py",),
    "flushq/policies/interval.py": ("tests/policies", LAWS),
    "flushq/policies/natural.py": ("tests/policies", LAWS),
    "flushq/policies/pause.py": (f"tests/policies/test_pause.py {STATEFUL}", LAWS),
    "flushq/testing/checks.py": ("tests/testing",),
    "flushq/testing/histories.py": (
        "tests/testing/test_laws.py tests/testing/test_histories.py",
        "tests/testing",
    ),
    "flushq/testing/laws.py": ("tests/testing/test_laws.py", "tests/testing"),
    "flushq/testing/ratios.py": ("tests/testing/test_ratios.py",),
    "flushq/testing/search.py": ("tests/testing",),
    "flushq/testing/throttle_checks.py": ("tests/testing/test_throttle_checks.py",),
    "flushq/testing/throttle_histories.py": ("tests/testing/test_throttle_checks.py",),
    "flushq/testing/throttle_laws.py": ("tests/testing/test_throttle_checks.py",),
    "flushq/testing/watch.py": ("tests/testing/test_watch.py", "tests/testing"),
    "flushq/cli/failures.py": ("tests/cli/test_failures.py",),
    "flushq/cli/ingest.py": ("tests/cli/test_ingest.py",),
    "flushq/cli/ingestion.py": ("tests/cli/test_ingest.py tests/cli/test_failures.py",),
    "flushq/cli/lab.py": (LAB,),
    "flushq/cli/jetstream.py": (
        "tests/field/test_work_mistakes.py tests/field/test_publishing.py",
    ),
    "flushq/cli/messages.py": ("tests/cli/test_messages.py",),
    "flushq/cli/monitoring.py": ("tests/cli/test_monitoring.py",),
    "flushq/cli/params.py": (f"tests/cli/test_params.py {LAB}",),
    "flushq/cli/postgres.py": (f"{MISTAKES} {WORK}",),
    "flushq/cli/publishing.py": ("tests/field/test_publishing.py",),
    "flushq/cli/pulling.py": ("tests/cli/test_pulling.py tests/cli/test_working.py",),
    "flushq/cli/reading.py": ("tests/cli/test_reading.py",),
    "flushq/cli/report.py": (LAB,),
    "flushq/cli/resuming.py": ("tests/cli/test_resuming.py",),
    "flushq/cli/signals.py": (f"tests/cli/test_signals.py {LAB}",),
    "flushq/cli/simulate.py": (LAB,),
    "flushq/cli/table.py": ("tests/cli/test_table.py",),
    "flushq/cli/terminal.py": ("tests/cli/test_terminal.py",),
    "flushq/cli/traffic.py": (f"tests/cli/test_traffic.py {LAB}",),
    "flushq/cli/urls.py": ("tests/field/test_urls.py",),
    "flushq/cli/working.py": (f"tests/cli/test_working.py {WORK}",),
}

MOST_MEMORY = 4 * 2**30
EXAMPLES = 30

KILLED, TIMEOUT, SURVIVED = "killed", "timeout", "survived"


class _Instead(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports a mutant in place of the original file."""

    def __init__(self, path: Path, source: str) -> None:
        self._path, self._source = path, source
        self._name = ".".join(path.relative_to(ROOT).with_suffix("").parts)

    def find_spec(
        self, fullname: str, path: object, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of the mutant, or None for every other module."""
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._path, loader=self)

    def exec_module(self, module: types.ModuleType) -> None:
        """Run the mutant, under the name of the file."""
        with warnings.catch_warnings(action="ignore"):
            code = compile(self._source, self._path, "exec")
        exec(code, module.__dict__)


class _FewExamples:
    """A plugin of pytest that runs few examples of each property, always the same ones."""

    def pytest_collection(self) -> None:
        """Load the profile after the one that conftest.py has loaded."""
        hypothesis.settings.register_profile(
            "mutation",
            hypothesis.settings.get_profile("ci"),
            max_examples=EXAMPLES,
            phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
        )
        hypothesis.settings.load_profile("mutation")


def run_pytest(*options: str) -> int:
    """Run pytest in this process without output, and return its exit status."""
    quiet = ["-q", "--tb=no", "-n", "0", "-p", "no:cacheprovider", "-p", "no:cov"]
    # A plugin may have been imported before: the messages of its asserts are not needed.
    known = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    return int(pytest.main([*quiet, *known, *options], plugins=[_FewExamples()]))


def try_out(path: Path, source: str, tests: Iterable[str], seconds: int) -> int:
    """Run the tests on a mutant until one fails; each run is in a process of its own."""
    for run in tests:
        _, status = os.waitpid(fork(partial(try_run, path, source, run, seconds)), 0)
        if os.WIFSIGNALED(status):
            os.kill(os.getpid(), signal.SIGKILL)
        if status:
            return 1
    return 0


def try_run(path: Path, source: str, run: str, seconds: int) -> int:
    """Run some tests on a mutant, in this process."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    signal.alarm(10 * seconds)  # a test that waits for ever uses no processor time
    sys.meta_path.insert(0, _Instead(path, source))
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        return run_pytest("-x", *run.split())


def fork(action: Callable[[], int]) -> int:
    """Call ``action`` in a new process, and return the number of the process."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = action()
        finally:
            os._exit(status)
    return pid


def verdict(status: int) -> str:
    """Return "killed", "timeout" or "survived" for the exit status of a process."""
    if os.WIFSIGNALED(status):
        return TIMEOUT
    return SURVIVED if os.waitstatus_to_exitcode(status) == pytest.ExitCode.OK else KILLED


def tried(
    path: Path, sources: Sequence[str], tests: Sequence[str], seconds: int, jobs: int
) -> Iterator[tuple[int, str]]:
    """Yield the number and the verdict of each source, as the processes end."""
    running: dict[int, int] = {}
    left = iter(enumerate(sources))
    while True:
        while len(running) < jobs and (following := next(left, None)) is not None:
            number, source = following
            action = partial(try_out, path, source, tests, seconds)
            running[fork(action)] = number
        if not running:
            return
        pid, status = os.wait()
        yield running.pop(pid), verdict(status)


def measure(path: Path, tests: Sequence[str]) -> int:
    """Return the seconds of processor time for a mutant; exit if the file itself fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ((_, outcome),) = tried(path, [path.read_text()], tests, 600, 1)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if outcome != SURVIVED:
        sys.exit(f"the tests of {path} fail without a mutant")
    return int(3 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)) + 5


def chosen(count: int, arguments: argparse.Namespace) -> list[int]:
    """Return the numbers of the mutants to try."""
    if arguments.only:
        return [int(number) for number in arguments.only.split(",")]
    if arguments.sample is None or arguments.sample >= count:
        return list(range(count))
    return sorted(random.Random(arguments.seed).sample(range(count), arguments.sample))


def run(name: str, arguments: argparse.Namespace) -> Counter[str]:
    """Try the mutants of a file, print the survivors, and return the number of each verdict."""
    path = ROOT / name
    source = path.read_text()
    made = list(mutants(source))
    numbers = chosen(len(made), arguments)
    seconds = measure(path, TESTS[name])
    ends: Counter[str] = Counter()
    started = time.monotonic()
    sources = [made[number].source for number in numbers]
    for index, outcome in tried(path, sources, TESTS[name], seconds, arguments.jobs):
        ends[outcome] += 1
        if outcome == SURVIVED:
            _say(_shown(name, numbers[index], source, made[numbers[index]]))
    counts = ", ".join(f"{ends[end]} {end}" for end in (KILLED, TIMEOUT, SURVIVED))
    took = time.monotonic() - started
    _say(f"== {name}: {len(made)} mutants, {len(numbers)} tried: {counts}; {took:.0f} s")
    return ends


def main() -> int:
    """Try the mutants of the files that the command line names."""
    arguments = _arguments()
    ends = sum((run(name, arguments) for name in arguments.files or TESTS), Counter[str]())
    killed, all_of_them = ends[KILLED] + ends[TIMEOUT], ends.total()
    _say(f"{killed} of {all_of_them} mutants killed: {100 * killed / all_of_them:.1f} %")
    return 1 if ends[SURVIVED] else 0


def _shown(name: str, number: int, source: str, mutant: Mutant) -> str:
    lines = difflib.unified_diff(source.splitlines(), mutant.source.splitlines(), lineterm="", n=2)
    return "\n".join([f"-- {name} mutant {number} survived", *list(lines)[2:]])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("files", nargs="*", metavar="file", help=f"of {', '.join(TESTS)}")
    parser.add_argument("--jobs", type=int, default=2, help="how many processes to use")
    parser.add_argument("--sample", type=int, help="how many mutants of each file to try")
    parser.add_argument("--seed", type=int, default=0, help="the seed of the sample")
    parser.add_argument("--only", help="the numbers of the mutants to try")
    return parser.parse_args()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
