"""The recipe that ships log records."""

import asyncio
import logging
from collections.abc import Iterator

import pytest
from log_shipping import Shipper, shipping

with_threads = pytest.mark.asyncio(loop_factories=["standard"])


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger of the test's own."""
    logger = logging.getLogger("tests.field.shop")
    logger.setLevel(logging.INFO)
    yield logger
    logger.setLevel(logging.NOTSET)


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

    assert 0 == shipper.refused
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
        assert 1 == shipper.refused
    logger.addHandler(shipper)
    logger.info("late")
    await asyncio.sleep(0)
    logger.removeHandler(shipper)

    assert 2 == shipper.refused


@with_threads
async def test_a_record_after_the_loop(logger: logging.Logger) -> None:
    """A record that comes when the loop is closed is counted."""
    shippers: list[Shipper] = []

    async def send(lines: list[str]) -> None:
        raise AssertionError

    async def work() -> None:
        async with shipping(send, logger) as shipper:
            shippers.append(shipper)

    await asyncio.to_thread(asyncio.run, work())
    shippers[0].handle(logging.makeLogRecord({"msg": "late"}))

    assert 1 == shippers[0].refused
