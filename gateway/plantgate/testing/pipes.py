"""The two ends of a simulated connection, the pipes between them, and the server that greets one end."""

import asyncio
import errno
import socket
import sys
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Final

from plantgate.testing.process import PROCESS, Process

if TYPE_CHECKING:
    from plantgate.testing.event_loop import SimLoop
    from plantgate.testing.network import Network

WINDOW_BYTES: Final = 128 * 1024
"""How much may be under way or unread in one direction: a sender's and a receiver's socket buffer."""
RETRANSMIT_SECONDS: Final = 924.0
"""How long Linux retransmits unacknowledged bytes before it gives the connection up (tcp_retries2 = 15)."""


class Pipe:
    """One direction of a connection."""

    lost_bytes = False
    """Something was sent and vanished: TCP would be retransmitting it."""

    def __init__(self, sender: "SimTransport", receiver: "SimTransport") -> None:
        self.sender, self.receiver = sender, receiver
        self.waiting = bytearray()
        """Written, and not yet under way: the sender's transport buffer."""
        self.ends = False
        """The sender will write nothing more."""
        self._network, self._loop = sender.network, sender.loop
        self._unread = 0  # under way or arrived but not taken
        self._flying: deque[bytes | None] = deque()  # None: end of stream
        self._arrived: deque[bytes | None] = deque()
        self._line_free = 0.0
        self._next_arrival = 0.0
        self._end_sent = False

    def push(self) -> None:
        """Send what the window lets."""
        if self._state() != "held":
            while self.waiting and (room := WINDOW_BYTES - self._unread) > 0:
                chunk = bytes(self.waiting[: min(room, 64 * 1024)])
                del self.waiting[: len(chunk)]
                self._unread += len(chunk)
                self._send(chunk)
            if self.ends and not self.waiting and not self._end_sent:
                self._end_sent = True
                self._send(None)
        self.sender.watermarks()

    def release(self) -> None:
        """The link was healed."""
        self.push()
        self._hand_over()

    def take(self) -> None:
        """The receiver reads again."""
        self._hand_over()

    def _state(self) -> str:
        return self._network.behaviour(self.sender.address).state

    def _send(self, chunk: bytes | None) -> None:
        if self.sender.severed:
            self._vanish(chunk)
            return
        address = self.sender.address
        self._line_free = max(self._line_free, self._loop.time()) + self._network.transfer(address, len(chunk or b""))
        self._next_arrival = max(self._next_arrival, self._line_free + self._network.latency(address))
        self._flying.append(chunk)  # not an argument: timers due at the same instant fire in no promised order
        self._loop.call_at(self._next_arrival, self._arrive, context=self._network.context)

    def _vanish(self, chunk: bytes | None) -> None:
        """Nobody acknowledges: the window stays taken until the sender gives up, or hears that it is unknown."""
        if chunk is None or self.lost_bytes:
            return
        self.lost_bytes = True
        if self._state() in ("cut", "mute"):
            self.sender.break_later(RETRANSMIT_SECONDS, _timed_out())
        else:
            self._answer_with_reset()

    def _answer_with_reset(self) -> None:
        self.sender.break_later(self._network.latency(self.sender.address), reset_by_peer())

    def _arrive(self) -> None:
        chunk = self._flying.popleft()
        if self.sender.severed:
            self._vanish(chunk)
        elif not self.receiver.gone:
            self._arrived.append(chunk)
            self._hand_over()
        elif chunk is not None:
            self._answer_with_reset()  # the receiver is gone without having read everything

    def _hand_over(self) -> None:
        while self._arrived and self.receiver.is_reading() and self._state() != "held" and not self.receiver.gone:
            chunk = self._arrived.popleft()
            if chunk is None:
                self.receiver.end_of_stream()
                continue
            for piece in self._network.pieces(self.sender.address, chunk):
                if not self._deliver(piece):
                    return
            self._unread -= len(chunk)
            self.push()

    def _deliver(self, piece: bytes) -> bool:
        """Hand a piece to the receiver; False if the connection breaks at its end."""
        address = self.sender.address
        if self._network.behaviour(address).noise_from_dialler is (self.sender.listener is None):
            piece = self._network.damaged(address, piece)
        piece, breaks = self._network.up_to_the_break(address, piece)
        self._loop.witness(piece)
        if piece:
            self.receiver.data_received(piece)
        if breaks:
            self.sender.break_with(reset_by_peer())
            self.receiver.break_with(reset_by_peer())
        return not breaks


class SimTransport(asyncio.Transport):
    """One end of a connection."""

    outward: Pipe
    listener: "SimServer | None" = None
    _protocol: asyncio.BaseProtocol

    def __init__(
        self,
        loop: "SimLoop",
        network: "Network",
        number: int,
        address: tuple[str, int],
        here: tuple[str, int],
        there: tuple[str, int],
        context: Context,
    ) -> None:
        super().__init__({"sockname": here, "peername": there, "socket": None})
        self.loop, self.network, self.address = loop, network, address
        self.severed = False
        """Cut at some time: what is sent vanishes for ever."""
        self.gone = False
        """``connection_lost`` was called, or will be in the next turn."""
        self._number = number
        self._context = context  # in which the protocol is called
        self._closing = False
        self._paused_reading = False
        self._paused_writing = False
        self._high, self._low = 64 * 1024, 16 * 1024

    def begin(self, protocol: asyncio.BaseProtocol) -> "asyncio.Future[None]":
        """Meet the protocol, in the next turn; done when it has been met."""
        self._protocol = protocol
        met: asyncio.Future[None] = self.loop.create_future()
        self.loop.call_soon(protocol.connection_made, self, context=self._context)
        self.loop.call_soon(_settle, met)
        return met

    # Reading.

    def data_received(self, piece: bytes) -> None:
        """Bytes for the protocol."""
        if not self.gone and not self._closing:
            assert isinstance(self._protocol, asyncio.Protocol)
            self._context.run(self._protocol.data_received, piece)

    def end_of_stream(self) -> None:
        """The peer closed its side."""
        if self.gone or self._closing:
            return
        assert isinstance(self._protocol, asyncio.Protocol)
        if not self._context.run(self._protocol.eof_received):
            self.close()

    def pause_reading(self) -> None:
        self._paused_reading = True

    def resume_reading(self) -> None:
        if self._paused_reading:
            self._paused_reading = False
            self.loop.call_soon(self._other().outward.take)

    def is_reading(self) -> bool:
        return not self._paused_reading

    # Writing.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.gone or self.outward.ends:
            return  # as selector transports do, which warn only in the log
        self.outward.waiting += data
        self.outward.push()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        self.outward.ends = True
        self.outward.push()

    def can_write_eof(self) -> bool:
        return True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = high if high is not None else (4 * low if low is not None else 64 * 1024)
        self._low = low if low is not None else self._high // 4
        self.watermarks()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        return len(self.outward.waiting)

    def watermarks(self) -> None:
        """Tell the protocol when to pause and to go on, and close once everything is out."""
        size = len(self.outward.waiting)
        if not self._paused_writing and size > self._high:
            self._paused_writing = True
            self._protocol.pause_writing()
        elif self._paused_writing and size <= self._low:
            self._paused_writing = False
            self._protocol.resume_writing()
        if self._closing and size == 0:
            self._lose(None)

    # Ending.

    def close(self) -> None:
        if not self._closing and not self.gone:
            self._closing = True
            self.outward.ends = True
            self.outward.push()

    def abort(self) -> None:
        """Drop everything; the peer is reset."""
        if not self.gone:
            peer = self._other()
            if not self.severed:
                peer.break_later(self.network.latency(self.address), reset_by_peer())
            self._lose(None)

    def is_closing(self) -> bool:
        return self._closing or self.gone

    def belongs_to(self, process: Process) -> bool:
        """Whether that process opened it, or accepted it."""
        return self._context.get(PROCESS) is process

    def break_later(self, seconds: float, error: OSError) -> None:
        """`break_with`, after a while."""
        self.loop.call_later(seconds, self.break_with, error, context=self.network.context)

    def break_with(self, error: OSError) -> None:
        """The connection is lost, with this error."""
        self._lose(error)

    def _lose(self, error: OSError | None) -> None:
        if self.gone:
            return
        self.gone = True
        self.outward.waiting.clear()
        self.loop.call_soon(self._protocol.connection_lost, error, context=self._context)
        if self.listener is not None:
            self.loop.call_soon(self.listener.left, self)
        if self._other().gone:
            self.network.forget(self._number)

    def _other(self) -> "SimTransport":
        return self.outward.receiver

    # Bookkeeping.

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol


class SimServer(asyncio.AbstractServer):
    """A listener; behaves as `asyncio.Server` of the running Python does."""

    def __init__(
        self,
        loop: "SimLoop",
        network: "Network",
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        addresses: list[tuple[str, int]],
    ) -> None:
        self._loop, self._network, self._factory = loop, network, protocol_factory
        self.context = copy_context()
        self._addresses = addresses
        self._clients: list[SimTransport] = []
        self._serving = True
        self._empty = asyncio.Event()

    def belongs_to(self, process: Process) -> bool:
        """Whether that process listens with it."""
        return self.context.get(PROCESS) is process

    def greet(self, transport: SimTransport) -> None:
        """A client has connected."""
        transport.listener = self
        self._clients.append(transport)
        transport.begin(self.context.copy().run(self._factory))

    def left(self, transport: SimTransport) -> None:
        """A client's connection is gone."""
        self._clients.remove(transport)
        self._settle()

    def close(self) -> None:
        if self._serving:
            self._serving = False
            self._network.unlisten(self._addresses)
            self._settle()

    def close_clients(self) -> None:
        """Close every connection (as Python 3.13's servers can)."""
        for transport in list(self._clients):
            transport.close()

    def abort_clients(self) -> None:
        """Drop every connection (as Python 3.13's servers can)."""
        for transport in list(self._clients):
            transport.abort()

    async def wait_closed(self) -> None:
        if sys.version_info >= (3, 12):  # before, it returned at once: python/cpython#79033
            await self._empty.wait()

    def is_serving(self) -> bool:
        return self._serving

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    @property
    def sockets(self) -> tuple["_SimSocket", ...]:
        """Only good for asking the address."""
        return tuple(_SimSocket(address) for address in self._addresses) if self._serving else ()

    async def start_serving(self) -> None:
        assert self._serving, "a closed server cannot serve again"

    async def serve_forever(self) -> None:
        try:
            await self._loop.create_future()
        finally:
            self.close()
            await self.wait_closed()

    def _settle(self) -> None:
        if not self._serving and not self._clients:
            self._empty.set()


class _SimSocket:
    family = socket.AF_INET

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address

    def getsockname(self) -> tuple[str, int]:
        return self._address


def _settle(met: "asyncio.Future[None]") -> None:
    if not met.done():
        met.set_result(None)


def reset_by_peer() -> OSError:
    """What the other end of a broken connection hears."""
    return ConnectionResetError(errno.ECONNRESET, "connection reset by peer")


def _timed_out() -> OSError:
    return TimeoutError(errno.ETIMEDOUT, "connection timed out")
