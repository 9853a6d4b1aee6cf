"""A proxy of a server that cuts a connection at a chosen moment."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    """A proxy that passes on the bytes of both sides.

    Args:
        connect: A function that connects to the server.

    Attributes:
        cuts: The number of connections that were cut.
    """

    def __init__(self, connect: Callable[[], Awaitable[Streams]]) -> None:
        self.cuts = 0
        self._connect = connect
        self._at_request: bytes | None = None
        self._at_answer: bytes | None = None

    def cut(self, *, at_request: bytes | None = None, at_answer: bytes | None = None) -> None:
        """Cut the next connection on which a side sends these bytes, instead of passing them on."""
        self._at_request, self._at_answer = at_request, at_answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection."""
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
        trigger_of: Callable[[], bytes | None],
    ) -> None:
        while chunk := await reader.read(65_536):
            trigger = trigger_of()
            if trigger is not None and trigger in chunk:
                self.cut()
                self.cuts += 1
                return
            writer.write(chunk)
            await writer.drain()


@asynccontextmanager
async def proxied(server: Path, proxy: Path) -> AsyncIterator[Proxy]:
    """Run a proxy of the unix socket ``server`` at the unix socket ``proxy``."""
    made = Proxy(partial(asyncio.open_unix_connection, server))
    async with await asyncio.start_unix_server(made.serve, proxy):
        yield made


@asynccontextmanager
async def proxied_port(port: int) -> AsyncIterator[tuple[Proxy, int]]:
    """Run a proxy of a loopback port, and yield the proxy and its own port."""
    made = Proxy(partial(asyncio.open_connection, "127.0.0.1", port))
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as server:
        yield made, server.sockets[0].getsockname()[1]
