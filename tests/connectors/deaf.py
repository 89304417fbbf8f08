"""A relay that carries both ways until it falls deaf: then it leaves what we send in its system's small buffer."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_STUFFING = b"\0" * 200_000


class Relay:
    """On real sockets, for what the simulated network does not know: bytes that wait in the system."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._listening.setblocking(False)
        self.port: int = self._listening.getsockname()[1]
        self._ends: list[socket.socket] = []
        self._work: list[asyncio.Task[None]] = []

    async def accept(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            near, _ = await loop.sock_accept(self._listening)
            far = socket.create_connection(("127.0.0.1", self._target))
            for end in (near, far):
                end.setblocking(False)
                self._ends.append(end)
            self._work += [loop.create_task(_carry(near, far)), loop.create_task(_carry(far, near))]

    def fall_deaf(self, transport: asyncio.Transport) -> None:
        """What is sent on this transport of ours from now on stays in our system: the other's buffer is full."""
        for task in self._work:
            task.cancel()
        raw = transport.get_extra_info("socket")
        assert socket.socket.send(raw._sock, _STUFFING) == len(_STUFFING), "our system's buffer is larger"
        assert transport.get_write_buffer_size() == 0

    async def rest(self) -> bytes:
        """All that was not read yet of the last connection, to its end."""
        heard = bytearray()
        with contextlib.suppress(ConnectionResetError):
            while piece := await asyncio.get_running_loop().sock_recv(self._ends[-2], 65_536):
                heard += piece
        return bytes(heard)

    async def close(self) -> None:
        """Of every connection."""
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        for end in (self._listening, *self._ends):
            end.close()


async def _carry(source: socket.socket, target: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):
        while piece := await loop.sock_recv(source, 65_536):
            await loop.sock_sendall(target, piece)
        target.shutdown(socket.SHUT_WR)


@asynccontextmanager
async def relay(target: int) -> AsyncIterator[Relay]:
    """To a port of this machine."""
    made = Relay(target)
    accepting = asyncio.create_task(made.accept())
    try:
        yield made
    finally:
        accepting.cancel()
        await asyncio.wait([accepting])
        await made.close()
