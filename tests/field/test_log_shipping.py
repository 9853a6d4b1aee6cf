"""The recipe that ships log records."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import closing

import pytest
from log_shipping import Shipper, shipping

from flushq import ShutdownTimeout

with_threads = pytest.mark.asyncio(loop_factories=["standard"])


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger of the test's own."""
    logger = logging.getLogger("tests.field.shop")
    logger.setLevel(logging.INFO)
    yield logger
    logger.setLevel(logging.NOTSET)


async def never(lines: list[str]) -> None:
    """Send nothing, since there is nothing to send."""
    raise AssertionError


def talk(logger: logging.Logger, name: str) -> None:
    """Log a good deal."""
    for number in range(500):
        logger.info("%s says %d", name, number)


@with_threads
async def test_records_of_all_threads(logger: logging.Logger) -> None:
    """What threads and the loop log is shipped, each thread's in order, and nothing is refused."""
    shipped: list[str] = []

    async def send(lines: list[str]) -> None:
        shipped.extend(lines)

    async with shipping(send, logger) as shipper:
        await asyncio.gather(*(asyncio.to_thread(talk, logger, name) for name in "abcd"))
        talk(logger, "loop")

    assert 0 == shipper.lost
    assert 2500 == len(shipped)
    for name in ("a", "b", "c", "d", "loop"):
        said = [line for line in shipped if line.startswith(f"{name} ")]
        assert [f"{name} says {number}" for number in range(500)] == said


async def test_shipping_does_not_feed_itself(caplog: pytest.LogCaptureFixture) -> None:
    """What is logged about a flush that fails, by whomever, is not shipped."""
    batches: list[list[str]] = []

    async def send(lines: list[str]) -> None:
        batches.append(lines)
        logging.getLogger("some.client").error("cannot send")
        raise ConnectionError

    root = logging.getLogger()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(10), shipping(send, root):
            root.error("once")
            logging.getLogger("flushq").error("a flush has failed")
            await asyncio.sleep(0)
            raise TimeoutError

    assert {("once",)} == {tuple(batch) for batch in batches}
    assert "cannot send" in caplog.text


async def test_what_is_refused_is_counted(logger: logging.Logger) -> None:
    """A record that comes too late, or when too many wait, is counted and holds up nobody."""

    async def send(lines: list[str]) -> None:
        await asyncio.sleep(0)

    async with shipping(send, logger) as shipper:
        for number in range(10_001):
            logger.info("%d", number)
        await asyncio.sleep(0)
        assert 1 == shipper.lost
    logger.addHandler(shipper)
    logger.info("late")
    await asyncio.sleep(0)
    logger.removeHandler(shipper)

    assert 2 == shipper.lost


async def test_what_is_given_up_is_counted(logger: logging.Logger) -> None:
    """Records that could not be sent three times over are lost, and the number is told."""
    calls: list[list[str]] = []

    async def send(lines: list[str]) -> None:
        calls.append(lines)
        raise ConnectionError

    async with shipping(send, logger) as shipper:
        logger.info("one")
        logger.info("two")
        await asyncio.sleep(4.0)
        assert 2 == shipper.lost
    assert [["one", "two"]] * 3 == calls


async def test_what_is_left_at_the_end_is_counted(logger: logging.Logger) -> None:
    """A collector that is away does not fail the end of the service; what was not sent is lost."""

    async def send(lines: list[str]) -> None:
        await asyncio.sleep(3.0)
        raise ConnectionError

    async with shipping(send, logger) as shipper:
        for number in range(1200):
            logger.info("%d", number)
    assert 1200 == shipper.lost


async def test_another_queue_that_is_left_with_items_is_told_of(logger: logging.Logger) -> None:
    """A ShutdownTimeout of the service itself goes on."""
    ended = ShutdownTimeout("the close was cut short", [1])

    with pytest.raises(ShutdownTimeout) as caught:
        async with shipping(never, logger):
            raise ended
    assert ended is caught.value


def test_a_record_that_comes_after_all_is_counted(logger: logging.Logger) -> None:
    """Whether the loop never runs again or is closed, the record is lost and does no harm."""

    async def work() -> Shipper:
        async with shipping(never, logger) as shipper:
            return shipper

    late = logging.makeLogRecord({"msg": "late"})
    with closing(asyncio.new_event_loop()) as loop:
        shipper = loop.run_until_complete(work())
        shipper.handle(late)
        assert 1 == shipper.lost
    shipper.handle(late)
    assert 2 == shipper.lost
