"""``ingest --to-stream``: whatever becomes of the call or of the server, a line is stored once."""

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
    """A stream that is not there yet.

    Attributes:
        name: What it is called.
        url: Where it is.
    """

    name: str
    url: str

    @property
    def option(self) -> tuple[str, str, str]:
        """The option that names it."""
        return "--to-stream", self.url, self.name

    async def make(self, **config: Any) -> None:
        """Make it."""
        async with await nats.connect(self.url) as connection:
            await connection.jetstream().add_stream(StreamConfig(name=self.name, **config))

    async def messages(self) -> list[RawStreamMsg]:
        """All that it holds, in order."""
        async with await nats.connect(self.url) as connection:
            manager = connection.jetstream()
            last = (await manager.stream_info(self.name)).state.last_seq
            get = partial(manager.get_msg, self.name)
            return [await get(number) for number in range(1, last + 1)]

    async def has_begun(self) -> bool:
        """Whether it holds any."""
        async with await nats.connect(self.url) as connection:
            info = await connection.jetstream().stream_info(self.name)
            return bool(info.state.messages)

    async def bodies(self) -> list[str]:
        """The texts of these."""
        return [(message.data or b"").decode() for message in await self.messages()]


@pytest.fixture
def stream(nats_server: Nats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stream:
    """The name of a new stream; the current directory is empty."""
    monkeypatch.chdir(tmp_path)
    return Stream(f"LINES{next(_numbers)}", nats_server.url)


def test_a_second_run_stores_nothing_twice(stream: Stream) -> None:
    """The stream is made and told of; what it has already is counted as ignored."""
    numbered("x", 700)

    first, second = [ingest("x", *stream.option) for _ in range(2)]

    assert (0, 700) == (first.exit_code, figures(first)["lines"])
    assert [f"created stream {stream.name!r} with the subject {stream.name!r}"] == complaints(first)
    assert (0, 0, 700) == (second.exit_code, *map(figures(second).get, ("lines", "ignored")))
    assert [] == complaints(second)
    assert [str(number) for number in range(1, 701)] == asyncio.run(stream.bodies())


def test_a_line_is_known_by_its_source_its_number_and_its_text(stream: Stream) -> None:
    """So a file that has taken the place of another has lines of its own."""
    Path("x").write_text("a\nb\n")
    ingest("x", *stream.option)
    Path("x").write_text("a\nc\nd\n")

    result = ingest("x", *stream.option)

    assert (2, 1) == tuple(map(figures(result).get, ("lines", "ignored")))
    assert ["a", "b", "c", "d"] == asyncio.run(stream.bodies())
    headers = [message.headers or {} for message in asyncio.run(stream.messages())]
    assert "x:1:" == headers[0]["Nats-Msg-Id"][:4]


def test_a_file_that_is_named_twice_is_stored_once(stream: Stream) -> None:
    """Each line is counted: the first as stored, the second as ignored."""
    numbered("x", 3)
    result = ingest("x", "x", *stream.option)
    assert (3, 3) == tuple(map(figures(result).get, ("lines", "ignored")))
    assert ["1", "2", "3"] == asyncio.run(stream.bodies())


def test_of_a_pipe_nothing_is_known_that_lasts(stream: Stream) -> None:
    """Its lines are those of another source each time that it is read."""
    for _ in range(2):
        reading, writing = os.pipe()
        os.write(writing, b"a\n")
        os.close(writing)
        assert 1 == figures(ingest(f"/dev/fd/{reading}", *stream.option))["lines"]
        os.close(reading)
    assert ["a", "a"] == asyncio.run(stream.bodies())


def test_the_first_subject_is_that_of_the_lines(stream: Stream) -> None:
    """A stream that is there is used as it is."""
    asyncio.run(stream.make(subjects=[f"{stream.name}.a", f"{stream.name}.b"]))
    numbered("x", 1)
    assert [] == complaints(ingest("x", *stream.option))
    assert [f"{stream.name}.a"] == [each.subject for each in asyncio.run(stream.messages())]


@pytest.mark.parametrize(
    "limit", [{"max_msg_size": 200}, {"max_msg_size": -1}], ids=["stream", "server"]
)
def test_a_line_that_is_too_long_is_a_dead_letter(stream: Stream, limit: dict[str, int]) -> None:
    """All others are stored, once; without a dead-letter file it ends the command."""
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
FIRST = "it must have a first subject without wildcards, but this subject is"


def test_mistakes(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be published to is told in one line, and nothing is read."""
    monkeypatch.setattr(jetstream, "CONNECT_SECONDS", 0.1)
    asyncio.run(stream.make(subjects=[f"{stream.name}.*"]))
    mirror = Stream(f"{stream.name}MIRROR", stream.url)
    asyncio.run(mirror.make(mirror=StreamSource(name=stream.name)))
    numbered("x", 1)
    for option, told in [
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
        assert [f"Error: {told}"] == [line[: 7 + len(told)] for line in complaints(result)]


@in_loop
async def test_what_is_not_acknowledged_is_published_again(
    stream: Stream, nats_server: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that has got it all the same has it once, and each line is counted once."""
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
    """Nobody takes its lines."""
    async with Publisher(stream.url, stream.name) as publisher:
        async with await nats.connect(stream.url) as connection:
            await connection.jetstream().delete_stream(stream.name)
        with pytest.raises(NotPublished, match="no stream accepts the line"):
            await publisher.write(ROWS)


@in_loop
async def test_what_is_acknowledged_is_not_published_again(stream: Stream) -> None:
    """A batch that failed in part is stored by the parts that are written again."""
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
    """While it is away a write fails, and after its return the next one does not."""
    async with Publisher(stream.url, stream.name) as publisher:
        await publisher.write(ROWS[:100])
        await asyncio.to_thread(nats_server.kill)

        told = ""

        async def is_told() -> bool:
            nonlocal told
            told += capfd.readouterr().err
            return "NATS is unreachable: " in told

        async def is_written() -> bool:
            try:
                await publisher.write(ROWS[100:])
            except NotPublished as failure:
                return "NATS is unreachable" != str(failure)
            return True

        await until(is_told)
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
    """With --retries, what is read meanwhile is stored when it is back, in order."""
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
        told = await asyncio.to_thread(running.stderr.readline)
        await asyncio.to_thread(nats_server.start)
        pipe.write("d\n")
    _, complained, code = await ended(running)

    assert 0 == code
    assert "cannot write: NATS " in told + complained
    assert ["a", "b", "c", "d"] == await stream.bodies()


@in_loop
async def test_a_run_that_is_killed_is_repeated(stream: Stream, start: Start) -> None:
    """Each line is stored once, whatever was under way."""
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
