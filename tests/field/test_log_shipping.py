"""The recipe that ships log records: threads, failures, the end, and forks."""

import logging
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from log_shipping import Shipper

from tests.field.conftest import RECIPES, Start
from tests.field.servers import PATIENCE
from tests.threads.stage import Stage, play

FORKS = """
import logging.config
import os
import sys

sys.path.insert(0, sys.argv[1])

def send(lines):
    with open("shipped", "a") as file:
        file.writelines(f"{line}\\n" for line in lines)

handler = {"()": "log_shipping.Shipper", "send": send}
config = {"version": 1, "handlers": {"ship": handler}, "root": {"handlers": ["ship"]}}
logging.config.dictConfig(config)
root = logging.getLogger()
(shipper,) = root.handlers
root.error("parent before")
root.error("%d", "does not format")
if (pid := os.fork()) == 0:
    root.error("child")
    assert shipper.lost == 0
    logging.shutdown()
    os._exit(0)
assert os.waitpid(pid, 0) == (pid, 0)
assert shipper.lost == 1
root.error("parent after")
"""

Send = Callable[[list[str]], object]


@contextmanager
def shipping(send: Send, logger: logging.Logger | None = None) -> Iterator[Shipper]:
    """Yield a Shipper, added to the logger if one is given, and close it at the end."""
    shipper = Shipper(send)
    if logger is not None:
        logger.addHandler(shipper)
    try:
        yield shipper
    finally:
        if logger is not None:
            logger.removeHandler(shipper)
        shipper.close()


def log(shipper: Shipper, *messages: object) -> None:
    """Pass messages to this handler alone."""
    for message in messages:
        shipper.handle(logging.makeLogRecord({"msg": message}))


def test_records_of_all_threads() -> None:
    """Records of all threads are shipped, those of each thread in order, and none is refused."""
    shipped: list[str] = []
    logged = [[f"{name} {number}" for number in range(500)] for name in "abcd"]
    with shipping(shipped.extend) as shipper, ThreadPoolExecutor() as pool:
        [*pool.map(lambda lines: log(shipper, *lines), logged)]
    assert 0 == shipper.lost
    assert logged == [[line for line in shipped if line[0] == name] for name in "abcd"]


def test_records_that_cannot_be_sent_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    """Records are sent up to three times, then counted; logs of send and flushq are not shipped."""

    def body(stage: Stage) -> None:
        calls: list[tuple[float, list[str]]] = []

        def send(lines: list[str]) -> None:
            calls.append((stage.now, lines))
            logging.getLogger("some.client").error("cannot send")
            raise ConnectionError

        root, began = logging.getLogger(), stage.now
        with shipping(send, root) as shipper:
            root.error("one")
            root.error("two")
            logging.getLogger("flushq").error("a flush has failed")
            stage.sleep(4)
            assert 2 == shipper.lost
            root.error("three")
        assert [(began + at, ["one", "two"]) for at in (1, 2, 3)] == calls[:3]
        assert [(began + at, ["three"]) for at in (4, 5, 6)] == calls[3:]

    play(body)
    assert 6 == caplog.messages.count("cannot send")


def test_a_collector_that_hangs(caplog: pytest.LogCaptureFixture) -> None:
    """No call waits for room; flush and close take 5 seconds each, and raise nothing.

    The oldest record is displaced, with a warning. Records that are displaced, left at the end, or
    logged after it are counted.
    """

    def body(stage: Stage) -> None:
        with shipping(lambda _: stage.sleep(100)) as shipper:
            log(shipper, *range(500))
            stage.sleep(1)
            began = stage.now
            log(shipper, *range(10_001))
            assert (began, 1) == (stage.now, shipper.lost)
            shipper.flush()
            assert (began + 5, 1) == (stage.now, shipper.lost)
        assert (began + 10, 10_501) == (stage.now, shipper.lost)
        assert [str(number) for number in range(1, 10_001)] == shipper.queue.undelivered
        log(shipper, "late")
        shipper.flush()
        assert (began + 10, 10_502) == (stage.now, shipper.lost)

    play(body)
    (warning,) = caplog.messages
    assert warning.endswith("displaces items: 1 since the last record, 1 in all")


def test_flush_waits_until_all_is_sent() -> None:
    """flush() sends all earlier records at once, without waiting for the policy."""

    def body(stage: Stage) -> None:
        shipped: list[str] = []

        def send(lines: list[str]) -> None:
            stage.sleep(3)
            shipped.extend(lines)

        with shipping(send) as shipper:
            began = stage.now
            log(shipper, "one")
            shipper.flush()
            assert (began + 3, ["one"]) == (stage.now, shipped)

    play(body)


def test_a_thread_that_logs_does_not_wait_for_the_end() -> None:
    """A logging call does not wait for the lock that logging.shutdown holds until all is sent."""
    shipped: list[str] = []
    with shipping(shipped.extend) as shipper, ThreadPoolExecutor() as pool:
        shipper.acquire()
        try:
            pool.submit(log, shipper, "meanwhile").result(PATIENCE)
        finally:
            shipper.release()
    assert ["meanwhile"] == shipped


def test_filters_are_asked() -> None:
    """The filters of the handler are applied; since Python 3.12 they may change a record."""

    def judge(record: logging.LogRecord) -> bool | logging.LogRecord:
        return record.msg != "secret" and logging.makeLogRecord({"msg": "changed"})

    shipped: list[str] = []
    with shipping(shipped.extend) as shipper:
        shipper.addFilter(judge)
        log(shipper, "secret", "one")
    assert ["changed" if sys.version_info >= (3, 12) else "one"] == shipped
    assert 0 == shipper.lost


def test_each_process_ships_its_own(start: Start, tmp_path: Path) -> None:
    """Each process ships its records once, by logging.shutdown, and counts its own losses."""
    program = start("-c", FORKS, RECIPES)
    _, err = program.communicate(timeout=PATIENCE)
    assert (0, True) == (program.returncode, "Message: '%d'" in err), err
    shipped = (tmp_path / "shipped").read_text().splitlines()
    assert ["child", "parent after", "parent before"] == sorted(shipped)
