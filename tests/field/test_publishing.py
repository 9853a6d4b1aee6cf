"""``ingest --to-stream``: each line is stored once, even if the program or the server is killed."""

import asyncio
import os
import signal
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import attrs
import nats
import pytest
from nats.js.api import RawStreamMsg, StreamConfig, StreamSource

from flushq.cli import jetstream, publishing
from flushq.cli.publishing import Publisher
from flushq.cli.reading import Row
from flushq.cli.sink import NotPublished
from tests.cli.support import complaints, figures, ingest, letters, numbered
from tests.field.conftest import Start, ended
from tests.field.servers import Nats, until

in_loop = pytest.mark.asyncio(loop_factories=["standard"])

ROWS: list[Row] = [("x", number, f"line {number}") for number in range(1, 301)]

_numbers = count(1)


@attrs.frozen
class Stream:
    """A stream that may not exist yet.

    Attributes:
        name: The name of the stream.
        url: The URL of the server.
    """

    name: str
    url: str

    @property
    def option(self) -> tuple[str, str, str]:
        """The option of ``ingest`` that names the stream."""
        return "--to-stream", self.url, self.name

    async def make(self, **config: Any) -> None:
        """Create the stream."""
        async with await nats.connect(self.url) as connection:
            await connection.jetstream().add_stream(StreamConfig(name=self.name, **config))

    async def messages(self) -> list[RawStreamMsg]:
        """Return all messages of the stream, in order."""
        async with await nats.connect(self.url) as connection:
            manager = connection.jetstream()
            last = (await manager.stream_info(self.name)).state.last_seq
            get = partial(manager.get_msg, self.name)
            return [await get(number) for number in range(1, last + 1)]

    async def has_begun(self) -> bool:
        """Return whether the stream has a message."""
        async with await nats.connect(self.url) as connection:
            info = await connection.jetstream().stream_info(self.name)
            return bool(info.state.messages)

    async def bodies(self) -> list[str]:
        """Return the texts of all messages."""
        return [(message.data or b"").decode() for message in await self.messages()]


@pytest.fixture
def stream(nats_server: Nats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stream:
    """A stream with a new name; the current directory is empty."""
    monkeypatch.chdir(tmp_path)
    return Stream(f"LINES{next(_numbers)}", nats_server.url)


def test_a_second_run_stores_nothing_twice(stream: Stream) -> None:
    """The first run creates the stream, and says so; the second counts its lines as ignored."""
    numbered("x", 700)

    first, second = [ingest("x", *stream.option) for _ in range(2)]

    assert (0, 700) == (first.exit_code, figures(first)["lines"])
    assert [f"created stream {stream.name!r} with the subject {stream.name!r}"] == complaints(first)
    assert (0, 0, 700) == (second.exit_code, *map(figures(second).get, ("lines", "ignored")))
    assert [] == complaints(second)
    assert [str(number) for number in range(1, 701)] == asyncio.run(stream.bodies())


def test_a_line_is_known_by_its_source_its_number_and_its_text(stream: Stream) -> None:
    """The changed lines of a file that was replaced are stored; the equal ones are ignored."""
    Path("x").write_text("a\nb\n")
    ingest("x", *stream.option)
    Path("x").write_text("a\nc\nd\n")

    result = ingest("x", *stream.option)

    assert (2, 1) == tuple(map(figures(result).get, ("lines", "ignored")))
    assert ["a", "b", "c", "d"] == asyncio.run(stream.bodies())
    headers = [message.headers or {} for message in asyncio.run(stream.messages())]
    assert "x:1:" == headers[0]["Nats-Msg-Id"][:4]


def test_a_file_that_is_named_twice_is_stored_once(stream: Stream) -> None:
    """A file that is named twice counts each line once as stored, and once as ignored."""
    numbered("x", 3)
    result = ingest("x", "x", *stream.option)
    assert (3, 3) == tuple(map(figures(result).get, ("lines", "ignored")))
    assert ["1", "2", "3"] == asyncio.run(stream.bodies())


def test_a_pipe_is_a_new_source_in_each_run(stream: Stream) -> None:
    """The lines of a pipe are stored again in each run."""
    for _ in range(2):
        reading, writing = os.pipe()
        os.write(writing, b"a\n")
        os.close(writing)
        assert 1 == figures(ingest(f"/dev/fd/{reading}", *stream.option))["lines"]
        os.close(reading)
    assert ["a", "a"] == asyncio.run(stream.bodies())


def test_the_first_subject_is_that_of_the_lines(stream: Stream) -> None:
    """Lines are published to the first subject of a stream that exists."""
    asyncio.run(stream.make(subjects=[f"{stream.name}.a", f"{stream.name}.b"]))
    numbered("x", 1)
    assert [] == complaints(ingest("x", *stream.option))
    assert [f"{stream.name}.a"] == [each.subject for each in asyncio.run(stream.messages())]


@pytest.mark.parametrize(
    "limit", [{"max_msg_size": 200}, {"max_msg_size": -1}], ids=["stream", "server"]
)
def test_a_line_that_is_too_long_is_a_dead_letter(stream: Stream, limit: dict[str, int]) -> None:
    """A line that is too long ends the command, or goes to the dead-letter file if there is one."""
    asyncio.run(stream.make(subjects=[stream.name], **limit))
    bodies = [str(number) for number in range(40)]
    bodies[17] = "x" * 1_050_000
    Path("x").write_text("\n".join(bodies))

    refused = ingest("x", *stream.option)
    result = ingest("x", *stream.option, "--dead-letter", "dead")

    assert (1, 1) == (refused.exit_code, figures(refused)["not stored"])
    assert complaints(refused)[-1].startswith(f"cannot write to stream {stream.name!r}: ")
    assert (1, 39) == (result.exit_code, figures(result)["ignored"])
    assert [("x", 18)] == [letter[:2] for letter in letters(Path("dead"))]
    assert bodies[:17] + bodies[18:] == asyncio.run(stream.bodies())


CANNOT = "cannot publish to stream"
FIRST = "its first subject must exist and contain no wildcards, but it is"


def test_mistakes(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that cannot be used gives an error of one line, and no file is read."""
    monkeypatch.setattr(jetstream, "CONNECT_SECONDS", 0.1)
    asyncio.run(stream.make(subjects=[f"{stream.name}.*"]))
    mirror = Stream(f"{stream.name}MIRROR", stream.url)
    asyncio.run(mirror.make(mirror=StreamSource(name=stream.name)))
    numbered("x", 1)
    for option, message in [
        (stream.option, f"{CANNOT} {stream.name!r}: {FIRST} '{stream.name}.*'"),
        (mirror.option, f"{CANNOT} {mirror.name!r}: {FIRST} missing"),
        (("--to-stream", stream.url, "a.b"), "cannot use stream 'a.b': "),
        (("--to-stream", "nats://127.0.0.1:1", "x"), "cannot connect to NATS: "),
        (("--to-stream", "nats://me:se/cret@x", "x"), "Invalid value for '--to-stream': the URL "),
        ((*stream.option, "--table", "x"), "--table must not be given with --to-stream"),
        ((*stream.option, "--resume"), "--resume must not be given with --to-stream"),
    ]:
        result = ingest("x", *option)
        assert (2, "") == (result.exit_code, result.stdout)
        assert [f"Error: {message}"] == [line[: 7 + len(message)] for line in complaints(result)]


@in_loop
async def test_lines_that_are_not_acknowledged_are_published_again(
    stream: Stream, nats_server: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that got the lines without an answer stores them once; each is counted once."""
    async with Publisher(stream.url, stream.name) as publisher:
        nats_server.send(signal.SIGSTOP)
        with monkeypatch.context() as impatient, pytest.raises(NotPublished, match="not answered"):
            impatient.setattr(publishing, "ACK_SECONDS", 0.05)
            await publisher.write(ROWS)
        nats_server.send(signal.SIGCONT)
        await publisher.write(ROWS)

        assert (300, 1) == (publisher.stored + publisher.ignored, publisher.batches)
        assert [row[2] for row in ROWS] == await stream.bodies()


@in_loop
async def test_a_stream_that_is_deleted(stream: Stream) -> None:
    """A write to a deleted stream raises NotPublished."""
    async with Publisher(stream.url, stream.name) as publisher:
        async with await nats.connect(stream.url) as connection:
            await connection.jetstream().delete_stream(stream.name)
        with pytest.raises(NotPublished, match="no stream accepts the line"):
            await publisher.write(ROWS)


@in_loop
async def test_lines_that_are_acknowledged_are_not_published_again(stream: Stream) -> None:
    """After a partial failure, the lines that were acknowledged are not published again."""
    await stream.make(subjects=[stream.name], max_msg_size=200)
    rows = [*ROWS[:9], ("x", 10, "too long" * 100)]
    async with Publisher(stream.url, stream.name) as publisher:
        with pytest.raises(NotPublished) as refused:
            await publisher.write(rows)
        assert (True, 9) == (refused.value.refused, publisher.stored)
        assert "message size exceeds maximum allowed" == str(refused.value)
        await publisher.write(rows[:5])
        await publisher.write(rows[5:9])
        assert (9, 0, 2) == (publisher.stored, publisher.ignored, publisher.batches)


@in_loop
async def test_a_server_goes_and_comes_back(
    stream: Stream, nats_server: Nats, capfd: pytest.CaptureFixture[str]
) -> None:
    """A write fails while the server is down, and succeeds after its restart."""
    async with Publisher(stream.url, stream.name) as publisher:
        await publisher.write(ROWS[:100])
        await asyncio.to_thread(nats_server.kill)

        log = ""

        async def is_logged() -> bool:
            nonlocal log
            log += capfd.readouterr().err
            return "NATS is unreachable: " in log

        async def is_written() -> bool:
            try:
                await publisher.write(ROWS[100:])
            except NotPublished as failure:
                return "NATS is unreachable" != str(failure)
            return True

        await until(is_logged)
        assert not await is_written()
        await asyncio.to_thread(nats_server.start)
        await until(is_written)
    assert [row[2] for row in ROWS] == await stream.bodies()
    assert capfd.readouterr().err.endswith("NATS is reachable again\n")


@pytest.mark.long
@in_loop
async def test_a_run_waits_for_a_server_that_is_away(
    stream: Stream, nats_server: Nats, start: Start
) -> None:
    """With --retries, lines that are read while the server is down are stored later, in order."""
    await stream.make(subjects=[stream.name])
    os.mkfifo("x")
    running = start(
        "-m", "flushq", "ingest", "x", *stream.option, "--policy=natural", "--retries=100"
    )
    with await asyncio.to_thread(Path("x").open, "w") as pipe:
        pipe.write("a\n")
        pipe.flush()
        await until(stream.has_begun)
        await asyncio.to_thread(nats_server.kill)
        pipe.write("b\nc\n")
        pipe.flush()
        assert running.stderr is not None
        first = await asyncio.to_thread(running.stderr.readline)
        await asyncio.to_thread(nats_server.start)
        pipe.write("d\n")
    _, complained, code = await ended(running)

    assert 0 == code
    assert "cannot write a batch: NATS " in first + complained
    assert ["a", "b", "c", "d"] == await stream.bodies()


@in_loop
async def test_a_run_that_is_killed_is_repeated(stream: Stream, start: Start) -> None:
    """After a kill and a second run, each line is stored once."""
    numbered("x", 1_000)
    command = ("-m", "flushq", "ingest", "x", *stream.option, "--policy=natural:100")
    await stream.make(subjects=[stream.name])
    killed = start(*command)
    await until(stream.has_begun)
    killed.kill()
    await ended(killed)
    _, complained, code = await ended(start(*command))

    assert ("", 0) == (complained, code)
    assert [str(number) for number in range(1, 1_001)] == await stream.bodies()
