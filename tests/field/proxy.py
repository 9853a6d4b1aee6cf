"""A proxy of a server that cuts a connection at the worst moment."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    """Passes on what the two sides say.

    Args:
        connect: Connects to the server.

    Attributes:
        cuts: How many connections were cut.
    """

    def __init__(self, connect: Callable[[], Awaitable[Streams]]) -> None:
        self.cuts = 0
        self._connect = connect
        self._at_request: bytes | None = None
        self._at_answer: bytes | None = None

    def cut(self, *, at_request: bytes | None = None, at_answer: bytes | None = None) -> None:
        """Cut the next connection on which the client or the server says this, unheard."""
        self._at_request, self._at_answer = at_request, at_answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        server_reader, server_writer = await self._connect()
        passing = [
            asyncio.create_task(self._pass_on(reader, server_writer, lambda: self._at_request)),
            asyncio.create_task(self._pass_on(server_reader, writer, lambda: self._at_answer)),
        ]
        await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
        for side in (writer, server_writer):
            side.transport.abort()
        for task in passing:
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        last_words: Callable[[], bytes | None],
    ) -> None:
        while chunk := await reader.read(65_536):
            last = last_words()
            if last is not None and last in chunk:
                self.cut()
                self.cuts += 1
                return
            writer.write(chunk)
            await writer.drain()


@asynccontextmanager
async def proxied(server: Path, proxy: Path) -> AsyncIterator[Proxy]:
    """Have a proxy of one unix socket at another."""
    made = Proxy(partial(asyncio.open_unix_connection, server))
    async with await asyncio.start_unix_server(made.serve, proxy):
        yield made


@asynccontextmanager
async def proxied_port(port: int) -> AsyncIterator[tuple[Proxy, int]]:
    """Have a proxy of one port of the loopback interface at another."""
    made = Proxy(partial(asyncio.open_connection, "127.0.0.1", port))
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as server:
        yield made, server.sockets[0].getsockname()[1]
