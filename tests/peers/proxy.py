"""A bad network on command: a TCP proxy whose links can be cut, reset, refused, slowed and sliced.

The names of the faults are Toxiproxy's where it has them.
"""

import asyncio
import contextlib
import enum
import socket
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

CHUNK = 65_536


class Cable(enum.Enum):
    """What happens to bytes and to new connections."""

    SOUND = "sound"
    CUT = "cut"
    """Bytes vanish both ways, connections stay half-open, new ones get no answer; mended, those that lost bytes
    are reset. A long outage, after which TCP has given up."""
    STALLED = "stalled"
    """Bytes wait and are delivered when it is mended, as TCP resends after a short outage."""
    ONE_WAY = "one way"
    """What the server answers vanishes; what it is asked arrives. A connection that lost an answer stays so."""
    REFUSING = "refusing"
    """Open connections go on; new ones are reset."""


@dataclass(slots=True)
class Slowness:
    """How slow a sound cable is; fields may be changed at any time and count from then on."""

    latency_seconds: float = 0.0
    """Added to each direction."""
    bytes_per_second: float | None = None
    """The most each direction of a connection carries."""
    slice_bytes: int | None = None
    """The most that is handed on in one piece, to find readers that trust message borders."""


@dataclass(slots=True, eq=False)
class _Link:
    near: asyncio.StreamWriter
    far: asyncio.StreamWriter | None = None
    lost_bytes: bool = False
    """Bytes have vanished: TCP would resend them, a proxy cannot, so nothing may follow them."""
    lost_answers: bool = False
    """The same of what the server sent, on a cable that is sound the other way."""


class Proxy:
    """Between clients and one server, on a port that stays the same for the life of the proxy."""

    def __init__(self, host: str, port: int) -> None:
        self.slowness = Slowness()
        self.accepted = 0
        """Connections taken since the start."""
        self.overheard: Callable[[object, bytes], None] = lambda link, chunk: None
        """Told what clients send as it comes in, whatever the cable does to it then; and on which connection."""
        self._target = (host, port)
        self._cable = Cable.SOUND
        self._changed = asyncio.Event()
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def host(self) -> str:
        """Where to connect: always loopback."""
        return "127.0.0.1"

    @property
    def port(self) -> int:
        """The port to connect to; stays the same for the life of the proxy."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def open_links(self) -> int:
        """Connections that are open now."""
        return len(self._links)

    def aim(self, host: str, port: int) -> None:
        """Send new connections to another server, such as one that came back on another port."""
        self._target = (host, port)

    def reset(self) -> int:
        """Reset every open connection on both sides; answers how many there were."""
        links = list(self._links)
        for link in links:
            self._reset(link)
        return len(links)

    def cut(self) -> None:
        """Bytes vanish from now on, see `Cable.CUT`."""
        self._turn(Cable.CUT)

    def stall(self) -> None:
        """Bytes wait from now on, see `Cable.STALLED`."""
        self._turn(Cable.STALLED)

    def lose_answers(self) -> None:
        """Answers vanish from now on, see `Cable.ONE_WAY`."""
        self._turn(Cable.ONE_WAY)

    def refuse(self) -> None:
        """Reset new connections from now on."""
        self._turn(Cable.REFUSING)

    def mend(self) -> None:
        """A sound and fast cable again."""
        self.slowness = Slowness()
        for link in list(self._links):
            if link.lost_bytes or link.lost_answers:
                self._reset(link)
        self._turn(Cable.SOUND)

    async def outage(self, seconds: float) -> None:
        """Cut, wait, mend."""
        self.cut()
        try:
            await asyncio.sleep(seconds)
        finally:
            self.mend()

    def _turn(self, cable: Cable) -> None:
        self._cable = cable
        self._changed.set()
        self._changed = asyncio.Event()

    @staticmethod
    def _reset(link: _Link) -> None:
        _reset(link.near)
        if link.far is not None:
            _reset(link.far)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=CHUNK)

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # start_server would make a task nobody can await; this one is awaited in _close.
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        link = _Link(writer)
        self._links.add(link)
        try:
            if self._cable is Cable.REFUSING:
                _reset(writer)
                return
            while self._cable in (Cable.CUT, Cable.STALLED):
                # The kernel has answered the SYN that a pulled cable would have left unanswered: stay silent.
                await self._changed.wait()
            try:
                far_reader, link.far = await asyncio.open_connection(*self._target, limit=CHUNK)
            except OSError:
                _reset(writer)
                return
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(reader, link.far, link))
                group.create_task(self._carry(far_reader, writer, link))
        except* OSError:
            pass
        finally:
            self._links.discard(link)
            for end in (writer, link.far):
                if end is not None:
                    end.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: _Link) -> None:
        """One direction. With latency, bytes are read on while earlier ones are still under way."""
        loop = asyncio.get_running_loop()
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)  # full: stop reading, as a full pipe does

        async def deliver() -> None:
            while True:
                arrives, chunk = await under_way.get()
                if (pause := arrives - loop.time()) > 0:
                    await asyncio.sleep(pause)
                for piece in self._slices(chunk):
                    await self._send(piece, writer, link)
                if not chunk:
                    break
            while self._cable in (Cable.CUT, Cable.STALLED):
                await self._changed.wait()
            if writer.can_write_eof():
                writer.write_eof()

        async with asyncio.TaskGroup() as group:
            group.create_task(deliver())
            while chunk := await reader.read(CHUNK):
                if writer is link.far:
                    self.overheard(link, chunk)
                await under_way.put((loop.time() + self.slowness.latency_seconds, chunk))
            await under_way.put((loop.time() + self.slowness.latency_seconds, b""))

    async def _send(self, piece: bytes, writer: asyncio.StreamWriter, link: _Link) -> None:
        while self._cable is Cable.STALLED:
            await self._changed.wait()
        if self._cable is Cable.CUT or link.lost_bytes:
            link.lost_bytes = True
            return
        if writer is link.near and (self._cable is Cable.ONE_WAY or link.lost_answers):
            link.lost_answers = True
            return
        writer.write(piece)
        await writer.drain()
        if (rate := self.slowness.bytes_per_second) is not None:
            await asyncio.sleep(len(piece) / rate)
        elif self.slowness.slice_bytes is not None:
            await asyncio.sleep(0.001)  # long enough for the reader to see a piece by itself

    def _slices(self, chunk: bytes) -> list[bytes]:
        size = self.slowness.slice_bytes
        if (rate := self.slowness.bytes_per_second) is not None:
            size = min(size or CHUNK, max(1, int(rate / 50)))
        if size is None:
            return [chunk]
        return [chunk[at : at + size] for at in range(0, len(chunk), size)]


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    raw = writer.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextlib.asynccontextmanager
async def proxy(host: str, port: int) -> AsyncIterator[Proxy]:
    """A proxy in front of `host:port`, on a port of its own."""
    between = Proxy(host, port)
    await between._open()
    try:
        yield between
    finally:
        await between._close()
