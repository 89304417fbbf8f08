"""Listens, and speaks with each client on a task of its own: what one sends never holds up another for long."""

import asyncio
from typing import Final

from plantgate.sdk import Context, Unavailable
from plantgate_connectors.opcua_server import frames
from plantgate_connectors.opcua_server.channel import Channel, Message, Terms, TooLarge
from plantgate_connectors.opcua_server.fault import fault, handle_in
from plantgate_connectors.opcua_server.frames import Broken
from plantgate_connectors.opcua_server.publishing import Publishing
from plantgate_connectors.opcua_server.requests import handle_of
from plantgate_connectors.opcua_server.services import Services
from plantgate_connectors.opcua_server.sessions import Sessions
from plantgate_connectors.opcua_server.settings import OpcUaServerSettings
from plantgate_connectors.opcua_server.values import ticks

RESPONSE_TOO_LARGE: Final = 0x80B9_0000
_UNSENT_BYTES_MOST: Final = 32 * 2**20
"""What waits for a client that does not read; beyond, the connection is ended."""
_HIGH_WATER_BYTES: Final = 1 * 2**20
_TOLD_MOST: Final = 1000


class Connection:
    """One client's line."""

    def __init__(self, listener: "Listener", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._listener = listener
        self._reader = reader
        self._writer = writer
        peer = writer.get_extra_info("peername")
        self.address = str(peer[0]) if isinstance(peer, tuple) and peer else "unknown"
        self.channel: Channel

    async def talk(self) -> None:
        """From greeting to farewell. Never raises but for cancellation: one client's end is its own."""
        listener = self._listener
        try:
            async with asyncio.timeout(listener.settings.limits.login_seconds) as until_login:
                await self._greet()
                while True:
                    self._watch_login(until_login)
                    if not await self._next():
                        break
        except Broken as broken:
            listener.tell(self.address, broken.reason)
            self._send(frames.error(broken.status))
        except TimeoutError:
            listener.tell(self.address, "it did not log in in time")
            self._send(frames.error(frames.BAD_TIMEOUT))
        except OSError:  # its line is gone, however the system puts it: a pulled cable is no ConnectionError
            pass
        except Exception as error:  # noqa: BLE001  a bug met by one client must not end the others
            listener.context.log.error("a client's connection has failed", error=repr(error)[:500])
            self._send(frames.error(frames.BAD_INTERNAL))
        finally:
            for session in listener.sessions.broken(self):
                listener.publishing.closed(session, delete=True)
            await self._hang_up()

    def _watch_login(self, limit: asyncio.Timeout) -> None:
        """The time to log in runs while nobody is: before the first session, and after the last."""
        if self._listener.sessions.has_activated(self):
            limit.reschedule(None)
        elif limit.when() is None:
            now = asyncio.get_running_loop().time()
            limit.reschedule(now + self._listener.settings.limits.login_seconds)

    async def _greet(self) -> None:
        listener, limits = self._listener, self._listener.settings.limits
        chunk = await self._read()
        if chunk is None:
            raise ConnectionError
        if chunk.kind != b"HEL":
            raise Broken(frames.BAD_MESSAGE_TYPE, "it sends a message before its greeting")
        greeting = frames.hello(chunk.body)
        self.channel = Channel(listener.terms, greeting)
        self._send(frames.acknowledge(greeting, limits.message_bytes_max, limits.chunks_max))

    async def _next(self) -> bool:
        """Take one chunk; False when the client is done."""
        chunk = await self._read()
        if chunk is None:
            return False
        if chunk.kind == b"HEL":
            raise Broken(frames.BAD_MESSAGE_TYPE, "it greets twice")
        if chunk.kind == b"OPN":
            self._send(await self.channel.open(chunk))
            return True
        message = self.channel.receive(chunk)
        if message is None:
            return True
        if message.closes:
            return False
        await self._answer(message)
        return True

    async def _answer(self, message: Message) -> None:
        answered = await self._listener.services.answer(self, message)
        if answered is not None:
            try:
                self._send(self.channel.pack(message.request_id, answered))
            except TooLarge:
                now = ticks(self._listener.context.clock.now())
                refused = fault(handle_of(message.body), now, RESPONSE_TOO_LARGE)
                self._send(self.channel.pack(message.request_id, refused))
        try:
            async with asyncio.timeout(self._listener.settings.limits.chunk_seconds):
                await self._writer.drain()  # a client that does not read is not asked for more
        except TimeoutError:
            raise Broken(frames.BAD_TIMEOUT, "it does not take its answers") from None

    async def _read(self) -> frames.Chunk | None:
        limits = self._listener.settings.limits
        return await frames.read_chunk(
            self._reader, idle_seconds=2 * frames.IDLE_SECONDS_MOST, chunk_seconds=limits.chunk_seconds
        )

    def say(self, request_id: int, body: bytes) -> None:
        """Send an answer that was waited for."""
        try:
            self._send(self.channel.pack(request_id, body))
        except TooLarge:  # the message is kept, and can be asked for again
            now = ticks(self._listener.context.clock.now())
            self._send(self.channel.pack(request_id, fault(handle_in(body), now, RESPONSE_TOO_LARGE)))

    def _send(self, content: bytes) -> None:
        if self._writer.is_closing():
            return
        self._writer.write(content)
        if self._writer.transport.get_write_buffer_size() > _UNSENT_BYTES_MOST:
            self._listener.tell(self.address, "it does not take what it has subscribed to")
            self._writer.transport.abort()

    async def _hang_up(self) -> None:
        self._writer.close()
        try:
            async with asyncio.timeout(1.0):
                await self._writer.wait_closed()
        except OSError:  # a timeout is one too
            self._writer.transport.abort()
        except asyncio.CancelledError:
            self._writer.transport.abort()
            raise


class Listener:
    """All connections of a server."""

    def __init__(
        self, settings: OpcUaServerSettings, context: Context, terms: Terms, sessions: Sessions, publishing: Publishing,
        services: Services,
    ) -> None:  # fmt: skip
        self.settings = settings
        self.context = context
        self.terms = terms
        self.sessions = sessions
        self.publishing = publishing
        self.services = services
        self.accepted = 0
        """Connections so far."""
        self._connections: set[asyncio.Task[None]] = set()
        self._told: set[tuple[str, str]] = set()
        self._server: asyncio.Server | None = None
        self._group: asyncio.TaskGroup | None = None
        self._clocks: tuple[asyncio.Task[None], ...] = ()

    def tell(self, address: str, reason: str) -> None:
        """Log why a client was left, once for each address and reason."""
        self.context.standing.count("connections_refused")
        if (address, reason) not in self._told and len(self._told) < _TOLD_MOST:
            self._told.add((address, reason))
            self.context.log.warning(f"a client's connection is ended: {reason}", address=address)

    async def bind(self) -> None:
        """Take the port, without serving yet; raises `Unavailable` if it cannot be had."""
        host, port = self.settings.host, self.settings.port
        try:
            self._server = await asyncio.start_server(
                self._connected, host, port, limit=2 * frames.CHUNK_BYTES_MAX, start_serving=False
            )
        except OSError as error:
            raise Unavailable(
                f"{self.context.connection}: cannot listen on {host}:{port}: {error.strerror or error}; another"
                " server may be there, or a second flow that uses this connection: name both sources in one flow",
                retry_after_seconds=10.0,
            ) from error

    async def serve(self, group: asyncio.TaskGroup) -> None:
        """Let clients in, each on a task of the group."""
        assert self._server is not None, "bind() comes first"
        self._group = group
        self._clocks = (group.create_task(self.publishing.run()), group.create_task(self._expire()))
        await self._server.start_serving()

    def stop(self) -> None:
        """No new clients, and farewell to those who are here."""
        if self._server is not None:
            self._server.close()
        for task in (*self._clocks, *self._connections):
            task.cancel()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._group is None or len(self._connections) >= self.settings.limits.connections_max:
            self.tell("", "limits.connections_max is reached")
            writer.transport.abort()
            return
        writer.transport.set_write_buffer_limits(high=_HIGH_WATER_BYTES)
        task = self._group.create_task(Connection(self, reader, writer).talk())
        self._connections.add(task)
        self.accepted += 1
        task.add_done_callback(self._connections.discard)

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            for session in self.sessions.expired():
                self.publishing.closed(session, delete=True)
