"""A TCP or TLS connection to a broker, cut into MQTT packets; its memory is bounded whatever the broker declares.

paho wants a socket and the bytes of whole packets; asyncio has a transport and arrives when it pleases. `PahoSocket` is
the one for the other, so that names are resolved and TLS is spoken by asyncio: no thread, nothing that blocks, and the
same code runs on a simulated loop. The packets of which there are many (PUBLISH, PUBACK) never reach paho, whose
bookkeeping costs tens of microseconds each: they are told to `Listener` straight from here.
"""

import asyncio
import socket
import struct
from typing import Final, Protocol

from plantgate_connectors.leaving import drop_unsent

CONNACK: Final = 0x20
PUBLISH: Final = 0x30
PUBACK: Final = 0x40
PINGRESP: Final = 0xD0

PINGREQ: Final = b"\xc0\x00"
_SHORT_PUBACK: Final = b"\x40\x02"
ACCEPTED: Final = 0
"""Reason code of a PUBACK without one."""

OTHER_BYTES_MAX: Final = 256 * 1024
"""No packet but PUBLISH has a reason to be longer."""
_WRITE_HIGH_BYTES: Final = 1024 * 1024
_QUICKACK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)
"""Linux only."""
""""Linger for no time": closing resets the connection."""
_U16: Final = struct.Struct("!H")


class Listener(Protocol):
    """Who is told what came."""

    def publish(self, first: int, body: bytes) -> None:
        """A PUBLISH: its first byte (the flags) and everything after the length."""

    def oversized(self, first: int, topic: bytes, mid: int, size: int) -> None:
        """A PUBLISH over the limit has gone by unread."""

    def puback(self, mid: int, reason: int) -> None:
        """A PUBACK."""

    def pong(self) -> None:
        """A PINGRESP."""

    def packet(self, whole: bytes) -> None:
        """Any other packet."""

    def lost(self, reason: str, *, closed: bool) -> None:
        """The connection is gone; told once. `closed`: in good order, by the broker or by us."""


class PahoSocket:
    """What paho reads packets from and writes them to."""

    def __init__(self, wire: "Wire") -> None:
        self._wire = wire
        self._unread = bytearray()

    def feed(self, whole: bytes) -> None:
        """A packet for paho to read."""
        self._unread += whole

    def recv(self, buffer_size: int) -> bytes:
        """As a socket that does not block."""
        if not self._unread:
            raise BlockingIOError
        taken = bytes(self._unread[:buffer_size])
        del self._unread[:buffer_size]
        return taken

    def send(self, buffer: bytes | bytearray) -> int:
        """Takes all; the transport keeps what cannot go out yet."""
        self._wire.write(bytes(buffer))
        return len(buffer)

    def close(self) -> None:
        """paho has done with it; the session closes the wire when the broker has heard everything."""

    def fileno(self) -> int:
        """None; only paho's own loop, which is not used, would ask."""
        return -1

    def setblocking(self, flag: bool) -> None:
        """It never blocks."""


class Wire(asyncio.Protocol):
    """Cuts the stream into packets. A PUBLISH above `publish_bytes_max` is let go by without being held."""

    def __init__(self, listener: Listener, *, publish_bytes_max: int) -> None:
        self._listener = listener
        self._publish_bytes_max = publish_bytes_max
        self._held = bytearray()
        """The beginning of a packet whose rest has not come."""
        self._need = 0
        """Bytes `_held` must reach before looking again is worth it."""
        self._skip = 0
        """Bytes of an oversized packet still to come."""
        self._skipping = (0, b"", 0, 0)
        self._loop = asyncio.get_running_loop()
        self.heard_at = self._loop.time()
        """When bytes last came, on the loop's clock."""
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None
        self._greeted = False
        """Whether the broker's first packet has begun as it must."""
        self._lost = False
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._writable = asyncio.Event()
        self._writable.set()

    # Towards the broker.

    def write(self, packets: bytes) -> None:
        """Send whole packets; after the connection is gone, does nothing."""
        if self._transport is not None:
            self._transport.write(packets)

    @property
    def transport(self) -> asyncio.Transport | None:
        """What it writes to; None before the connection is up."""
        return self._transport

    async def drain(self) -> None:
        """Until the transport wants more; returns at once when the connection is gone."""
        await self._writable.wait()

    def pause(self) -> None:
        """Read no further: what the broker sends waits in the kernel, and then at the broker."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        """Send what is written, then close."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once; what is written and not sent is dropped."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def clear(self) -> bool:
        """Whether what is written now leaves now: the connection is open, and nothing waits here to be sent.

        What waits below TLS, 64 KiB at most, is not seen.
        """
        transport = self._transport
        return transport is not None and not transport.is_closing() and transport.get_write_buffer_size() == 0

    def drop(self) -> None:
        """Close at once; the system too forgets what the broker has not taken, where it would go on for minutes."""
        if self._transport is not None and not self._transport.is_closing():
            drop_unsent(self._transport)
        self.abort()

    async def wait_closed(self) -> None:
        """Until the connection is gone; at once if there never was one."""
        if self._transport is not None:
            await asyncio.shield(self._gone)

    # From asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is up."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._socket = transport.get_extra_info("socket")
        transport.set_write_buffer_limits(high=_WRITE_HIGH_BYTES)

    def connection_lost(self, error: Exception | None) -> None:
        """It is gone."""
        if error is None:
            self._fail("the broker closed the connection", closed=True)
        else:
            self._fail(f"connection lost: {error}")
        self._writable.set()
        if not self._gone.done():
            self._gone.set_result(None)

    def pause_writing(self) -> None:
        """The broker reads more slowly than we write."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Cut, and tell."""
        self.heard_at = self._loop.time()
        if self._socket is not None and _QUICKACK is not None:
            # Mosquitto leaves Nagle's algorithm on: its second small answer waits for TCP's acknowledgement of the
            # first, which Linux would put off for 40 ms. The option holds for a moment only.
            self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        if not self._greeted:
            if data[0] & 0xF0 != CONNACK:  # or an HTTP server's text would be taken for a length and waited for
                self._fail("it does not speak MQTT (or wants TLS)")
                return
            self._greeted = True
        if self._skip:
            data = self._let_go_by(data)
        if self._held:
            self._held += data
            if len(self._held) < self._need:
                return
            data = bytes(self._held)
            self._held.clear()
        at, end = 0, len(data)
        puback = self._listener.puback
        while at < end and not self._lost:
            if data[at : at + 2] == _SHORT_PUBACK and at + 4 <= end:  # of which there are most
                puback(data[at + 2] << 8 | data[at + 3], ACCEPTED)
                at += 4
                continue
            start = self._length(data, at)
            if start is None:
                break
            body, size = start
            stop = body + size
            if stop > end:
                self._need = stop - at
                break
            self._tell(data, at, body, stop)
            at = stop
        if at < end and not self._lost:
            self._hold(data[at:])

    def _length(self, data: bytes, at: int) -> tuple[int, int] | None:
        """Where the body begins and its size; None, and `_need` set, while the header is incomplete."""
        end = len(data)
        if at + 1 < end and (size := data[at + 1]) < 128:
            return at + 2, size
        size, shift, place = 0, 0, at + 1
        while place < end:
            byte = data[place]
            size |= (byte & 127) << shift
            place += 1
            if byte < 128:
                return place, size
            shift += 7
            if shift > 21:
                self._fail("the broker sent a packet whose length is no number: this is not MQTT")
                return None
        self._need = place - at + 1
        return None

    def _tell(self, data: bytes, at: int, body: int, stop: int) -> None:
        first = data[at]
        kind = first & 0xF0
        if kind == PUBACK and stop - body >= 2:
            self._listener.puback(data[body] << 8 | data[body + 1], data[body + 2] if stop - body > 2 else ACCEPTED)
        elif kind == PUBLISH:
            if stop - body > self._publish_bytes_max:
                topic, mid = _head(data[body:stop], first) or (b"", 0)
                self._listener.oversized(first, topic, mid, stop - body)
            else:
                self._listener.publish(first, data[body:stop])
        elif kind == PINGRESP:
            self._listener.pong()
        else:
            self._listener.packet(data[at:stop])

    def _hold(self, rest: bytes) -> None:
        """Keep the beginning of a packet; if the whole would be too large, let it go by instead."""
        self._held += rest
        start = self._length(rest, 0)
        if start is None:
            return
        body, size = start
        if rest[0] & 0xF0 != PUBLISH:
            if size > OTHER_BYTES_MAX:
                self._fail(f"the broker announced a packet of {size} bytes that is not a message: this is not MQTT")
        elif size > self._publish_bytes_max:
            head = _head(rest[body:], rest[0])
            if head is None:
                self._need = min(body + size, len(rest) + 1)  # look again with the next bytes
                return
            topic, mid = head
            self._skipping = (rest[0], topic, mid, size)
            self._skip = body + size - len(rest)
            self._held.clear()

    def _let_go_by(self, data: bytes) -> bytes:
        gone = min(self._skip, len(data))
        self._skip -= gone
        if self._skip == 0:
            self._listener.oversized(*self._skipping)
        return data[gone:]

    def _fail(self, reason: str, *, closed: bool = False) -> None:
        if not self._lost:
            self._lost = True
            self._listener.lost(reason, closed=closed)
            self.drop()


def _head(body: bytes, first: int) -> tuple[bytes, int] | None:
    """Topic and packet identifier (0 with QoS 0) at the beginning of a PUBLISH; None while they have not all come."""
    if len(body) < 2:
        return None
    end = 2 + _U16.unpack_from(body)[0]
    if not first & 0x06:
        return (body[2:end], 0) if len(body) >= end else None
    if len(body) < end + 2:
        return None
    return body[2:end], _U16.unpack_from(body, end)[0]
