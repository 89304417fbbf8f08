"""The network cable between the gateway and the machines, as something that can be pulled."""

import asyncio
from collections.abc import Sequence
from typing import Final

_BLOCK: Final = 64 * 1024


class Cable:
    """Passes bytes from a port of its own to another; while it is cut, connections break and nobody answers."""

    def __init__(self, port: int) -> None:
        self._far = port
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def plug(self) -> None:
        """Bytes pass again."""
        self._server = await asyncio.start_server(self._link, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def pull(self) -> None:
        """Every connection breaks, with whatever was on its way."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for end in self._ends:
            end.transport.abort()

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = {writer}
        self._ends.add(writer)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._far)
            ends.add(far_writer)
            self._ends.add(far_writer)
            if self._server is None:
                return  # pulled while the far end was being dialled
            async with asyncio.TaskGroup() as group:
                group.create_task(_pass(reader, far_writer))
                group.create_task(_pass(far_reader, writer))
        except* (OSError, _Ended):
            pass  # an end has gone: so has the link
        finally:
            for end in ends:
                end.transport.abort()
            self._ends -= ends


class Cables:
    """The way to several ports, pulled together: one cable to the switch they all hang on."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._cables = [Cable(port) for port in ports]

    @property
    def ports(self) -> list[int]:
        """Where the near ends are."""
        return [cable.port for cable in self._cables]

    async def plug(self) -> None:
        """As `Cable.plug`, each."""
        for cable in self._cables:
            await cable.plug()

    async def pull(self) -> None:
        """As `Cable.pull`, each."""
        for cable in self._cables:
            await cable.pull()


class _Ended(Exception):
    """One end has closed."""


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while block := await reader.read(_BLOCK):
        writer.write(block)
        await writer.drain()
    raise _Ended
