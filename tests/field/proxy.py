"""A proxy of a server on a unix socket that cuts a connection, or speaks, at the worst moment."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path


class Proxy:
    """Passes on what the two sides say.

    Args:
        server: The socket of the server.

    Attributes:
        cuts: How many connections were cut.
    """

    def __init__(self, server: Path) -> None:
        self.cuts = 0
        self._server = server
        self._clients: list[asyncio.StreamWriter] = []
        self._at_request: bytes | None = None
        self._at_answer: bytes | None = None

    def cut(self, *, at_request: bytes | None = None, at_answer: bytes | None = None) -> None:
        """Cut the next connection on which the client or the server says this, unheard."""
        self._at_request, self._at_answer = at_request, at_answer

    def say(self, chunk: bytes) -> None:
        """Say this to the clients, as if the server had."""
        for client in self._clients:
            client.write(chunk)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self._clients.append(writer)
        server_reader, server_writer = await asyncio.open_unix_connection(self._server)
        passing = [
            asyncio.create_task(self._pass_on(reader, server_writer, self._is_request)),
            asyncio.create_task(self._pass_on(server_reader, writer, self._is_answer)),
        ]
        await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
        for side in (writer, server_writer):
            side.transport.abort()
        await asyncio.gather(*passing, return_exceptions=True)

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        is_it: Callable[[bytes], bool],
    ) -> None:
        while chunk := await reader.read(65_536):
            if is_it(chunk):
                self.cut()
                self.cuts += 1
                return
            writer.write(chunk)
            await writer.drain()

    def _is_request(self, chunk: bytes) -> bool:
        return self._at_request is not None and self._at_request in chunk

    def _is_answer(self, chunk: bytes) -> bool:
        return self._at_answer is not None and self._at_answer in chunk


@asynccontextmanager
async def proxied(server: Path, proxy: Path) -> AsyncIterator[Proxy]:
    """Have a proxy of one socket at another."""
    made = Proxy(server)
    async with await asyncio.start_unix_server(made.serve, proxy):
        yield made
