"""Messages out: as many at a time as the broker allows, done when it has confirmed them all."""

import asyncio
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from plantgate.sdk import Unavailable
from plantgate_connectors.mqtt.transport import PUBLISH, Wire

REFUSED: Final = 0x80
"""Reason codes from here on are refusals (MQTT 5, 2.4)."""
_IDS: Final = 65_535
_CHUNK_BYTES: Final = 256 * 1024
"""Written at a time, so that a slow line is felt before much is buffered."""
_FIRST: Final = (
    (bytes((PUBLISH,)), bytes((PUBLISH | 1,))),
    (bytes((PUBLISH | 2,)), bytes((PUBLISH | 3,))),
)
"""First byte of a PUBLISH by QoS and retain."""
_U16: Final = struct.Struct("!H")


@dataclass(slots=True)
class Message:
    """One PUBLISH, all but its identifier."""

    topic: bytes
    """With its length in front, as on the wire: see `on_the_wire`."""
    payload: bytes
    properties: bytes = b""
    """As on the wire, with their length in front; nothing at all in MQTT 3.1.1."""
    retain: bool = False
    samples: int = 1
    """How many are in it; one cannot be split further."""

    def size(self) -> int:
        """Bytes of the whole packet, at QoS 1."""
        return 7 + len(self.topic) + len(self.properties) + len(self.payload)


@dataclass(slots=True)
class _Ticket:
    """One call of `send`."""

    waiting: int = 0
    refusals: list[tuple[int, Message]] = field(default_factory=list)


class Publisher:
    """The sending half of a session."""

    def __init__(self, wire: Wire, *, window: int) -> None:
        self._wire = wire
        self._window = window
        self._unconfirmed: dict[int, tuple[_Ticket, Message]] = {}
        self._last = 0
        self._progress: set[asyncio.Future[None]] = set()
        self._count = 0
        """Confirmed so far."""
        self._lost: Unavailable | None = None

    async def send(
        self, messages: Iterable[Message], *, qos: int, patience_seconds: float
    ) -> list[tuple[int, Message]]:
        """Send them all in order; at QoS 1 returns when each is confirmed. Returns the refused, with reason codes.

        Raises `TimeoutError` when the broker has confirmed nothing for `patience_seconds`, `Unavailable` when the
        connection is gone. Cancelling it leaves what is under way to be confirmed to nobody.
        """
        ticket = _Ticket()
        coming = iter(messages)
        while True:
            if self._lost is not None:
                raise self._lost
            room = self._window - len(self._unconfirmed) if qos else self._window
            if room <= 0:
                await self._progressed(patience_seconds)
                continue
            more = self._write(islice(coming, room), ticket, qos)
            async with asyncio.timeout(patience_seconds):
                await self._wire.drain()
            if not more:
                break
        while ticket.waiting:
            await self._progressed(patience_seconds)
        if self._lost is not None:
            raise self._lost
        return ticket.refusals

    def confirmed(self, mid: int, reason: int) -> None:
        """A PUBACK came."""
        found = self._unconfirmed.pop(mid, None)
        if found is None:
            return
        self._count += 1
        ticket, message = found
        ticket.waiting -= 1
        if reason >= REFUSED:
            ticket.refusals.append((reason, message))
        if self._progress and (not ticket.waiting or len(self._unconfirmed) * 2 <= self._window):
            self._wake()

    def fail(self, error: Unavailable) -> None:
        """The connection is gone: nothing more will be confirmed."""
        self._lost = error
        self._wake()

    def _write(self, messages: Iterable[Message], ticket: _Ticket, qos: int) -> bool:
        """True unless `messages` was empty."""
        pieces: list[bytes] = []
        size = 0
        some = False
        unconfirmed, identifier = self._unconfirmed, self._identifier
        for message in messages:
            some = True
            topic, payload, properties = message.topic, message.payload, message.properties
            remaining = len(topic) + len(properties) + len(payload)
            first = _FIRST[qos][message.retain]
            if qos:
                mid = identifier()
                unconfirmed[mid] = (ticket, message)
                ticket.waiting += 1
                remaining += 2
                pieces += (first, varint(remaining), topic, _U16.pack(mid), properties, payload)
            else:
                pieces += (first, varint(remaining), topic, properties, payload)
            size += remaining
            if size > _CHUNK_BYTES:
                self._wire.write(b"".join(pieces))
                pieces.clear()
                size = 0
        if pieces:
            self._wire.write(b"".join(pieces))
        return some

    def _identifier(self) -> int:
        """The next that is not in use; the window is far smaller than their number."""
        while True:
            self._last = self._last % _IDS + 1
            if self._last not in self._unconfirmed:
                return self._last

    async def _progressed(self, patience_seconds: float) -> None:
        """Until there is room, a call has all its confirmations, or the connection is gone."""
        if self._lost is not None:
            raise self._lost
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._progress.add(waiting)
        try:
            while not waiting.done():
                before = self._count
                await asyncio.wait((waiting,), timeout=patience_seconds)
                if not waiting.done() and self._count == before:
                    raise TimeoutError
        finally:
            self._progress.discard(waiting)
        if self._lost is not None:
            raise self._lost

    def _wake(self) -> None:
        for waiting in self._progress:
            if not waiting.done():
                waiting.set_result(None)


def varint(number: int) -> bytes:
    """A Variable Byte Integer (MQTT 5, 1.5.5)."""
    if number < 128:
        return bytes((number,))
    if number < 16_384:
        return bytes((number & 127 | 128, number >> 7))
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    written.append(number)
    return bytes(written)


def on_the_wire(text: str) -> bytes:
    """A UTF-8 string with its length in front (MQTT 5, 1.5.4)."""
    encoded = text.encode()
    return _U16.pack(len(encoded)) + encoded
