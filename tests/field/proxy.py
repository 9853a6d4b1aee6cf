"""A proxy of a server that cuts a connection, is late, or speaks, at the worst moment."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    """Passes on what the two sides say.

    Args:
        connect: Connects to the server.

    Attributes:
        cuts: How many connections were cut.
        is_late: Is set when the answer to a request is delayed.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]]) -> None:
        self.cuts = 0
        self.is_late = asyncio.Event()
        self._connect = connect
        self._clients: list[asyncio.StreamWriter] = []
        self._at_request: bytes | None = None
        self._at_answer: bytes | None = None
        self._slow_request: bytes | None = None
        self._may_answer = asyncio.Event()
        self._may_answer.set()

    def cut(self, *, at_request: bytes | None = None, at_answer: bytes | None = None) -> None:
        """Cut the next connection on which the client or the server says this, unheard."""
        self._at_request, self._at_answer = at_request, at_answer

    def delay_answer(self, request: bytes) -> None:
        """Once, when a client says this, let it hear nothing until it says something else."""
        self._slow_request = request

    def say(self, chunk: bytes) -> None:
        """Say this to the clients, as if the server had."""
        for client in self._clients:
            client.write(chunk)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self._clients.append(writer)
        server_reader, server_writer = await self._connect()
        passing = [
            asyncio.create_task(self._pass_on(reader, server_writer, self._is_last_request)),
            asyncio.create_task(self._pass_on(server_reader, writer, self._is_last_answer)),
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
        is_last: Callable[[bytes], Awaitable[bool]],
    ) -> None:
        while chunk := await reader.read(65_536):
            if await is_last(chunk):
                self.cut()
                self.cuts += 1
                return
            writer.write(chunk)
            await writer.drain()

    async def _is_last_request(self, chunk: bytes) -> bool:
        if self._slow_request is None or self._slow_request not in chunk:
            self._may_answer.set()
        elif not self.is_late.is_set():
            self._may_answer.clear()
            self.is_late.set()
        return self._at_request is not None and self._at_request in chunk

    async def _is_last_answer(self, chunk: bytes) -> bool:
        await self._may_answer.wait()
        return self._at_answer is not None and self._at_answer in chunk


@asynccontextmanager
async def proxied(server: Path, proxy: Path) -> AsyncIterator[Proxy]:
    """Have a proxy of one unix socket at another."""
    made = Proxy(partial(asyncio.open_unix_connection, server))
    async with await asyncio.start_unix_server(made.serve, proxy):
        yield made


@asynccontextmanager
async def proxied_port(port: str) -> AsyncIterator[tuple[Proxy, int]]:
    """Have a proxy of one port of the loopback interface at another, which is told."""
    made = Proxy(partial(asyncio.open_connection, "127.0.0.1", port))
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as server:
        yield made, server.sockets[0].getsockname()[1]
