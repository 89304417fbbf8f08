"""Hears every write that a gateway sends, on its way to a machine: its value, when, and whether it was on record."""

import re
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_TAIL_BYTES: Final = 256 * 1024
"""Of the newest entries; an intent that was written just now is among them."""
_MODBUS_HEAD: Final = 6
_OPC_UA_HEAD: Final = 8
_WRITE_REQUEST: Final = b"\x01\x00\xa1\x02"
"""NodeId of WriteRequest's binary encoding, i=673 (OPC UA Part 6, 5.2.2.9 and annex A)."""
_DOUBLE: Final = b"\x01\x0b"
"""A DataValue that has a value and nothing else, which is a Double."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One write request, complete."""

    value: int
    at: float
    """On the monotonic clock."""
    time: int
    """ns since 1970."""
    on_record: bool
    """Whether its intent stood in the audit log's file by then."""


@dataclass(frozen=True, slots=True)
class Speech:
    """How a protocol's requests are told apart, and which value a write request brings."""

    length: Callable[[bytes], int | None]
    """Bytes of the message that begins here; None while that cannot be said."""
    value: Callable[[bytes], int | None]
    """None for what is no write."""


@dataclass
class Recorder:
    """Given to `Proxy.overheard`."""

    speech: Speech
    tag: str
    entries: Path
    """The audit log's folder of entries."""
    arrivals: list[Arrival] = field(default_factory=list)
    then: list[Callable[[], object]] = field(default_factory=list)
    """Called once each, at the next write, before that goes on to the machine."""
    _rests: dict[object, bytes] = field(default_factory=dict)

    def hear(self, link: object, chunk: bytes) -> None:
        """What came on a connection."""
        rest = self._rests.get(link, b"") + chunk
        while (length := self.speech.length(rest)) is not None and len(rest) >= length:
            value = self.speech.value(rest[:length])
            rest = rest[length:]
            if value is not None:
                at, now = time.monotonic(), time.time_ns()
                self.arrivals.append(Arrival(value, at, now, on_record(self.entries, self.tag, value)))
                while self.then:
                    self.then.pop()()
        self._rests[link] = rest


def on_record(entries: Path, tag: str, value: int) -> bool:
    """Whether an intent with this value stands in the log's file: what is durable stands there."""
    newest = sorted(entries.glob("*.segment"))[-2:]  # the next may have been begun since
    # A segment has its full length from the beginning.
    tail = b"".join(segment.read_bytes().rstrip(b"\0")[-_TAIL_BYTES:] for segment in newest)
    wanted = rb'\{"after":\{[^}]*"value":"%d(?:\.0)?"[^}]*\}.*?"phase":"(\w+)".*?"address":"([^"]+)"' % value
    return (b"intent", tag.encode()) in re.findall(wanted, tail, re.DOTALL)


def _modbus_length(rest: bytes) -> int | None:
    return None if len(rest) < _MODBUS_HEAD else _MODBUS_HEAD + int.from_bytes(rest[4:6], "big")


def _modbus_value(message: bytes) -> int | None:
    """Write Multiple Registers of a 32-bit number (Modbus Application Protocol 1.1b3, 6.12)."""
    body = message[_MODBUS_HEAD + 1 :]
    if body[0] not in (5, 6, 15, 16):
        return None
    assert body[0] == 16 and body[5] == 4, f"a write that the gateway was not asked for: {body.hex()}"  # noqa: PT018
    return int.from_bytes(body[6:10], "big")


def _opc_ua_length(rest: bytes) -> int | None:
    return None if len(rest) < _OPC_UA_HEAD else int.from_bytes(rest[4:8], "little")


def _opc_ua_value(message: bytes) -> int | None:
    """Without security; the value ends a Write request of one node (OPC UA Part 6, 6.7.2, Part 4, 5.10.4)."""
    if message[:4] != b"MSGF" or message[24:28] != _WRITE_REQUEST:
        return None
    assert message[-10:-8] == _DOUBLE, f"a write that the gateway was not asked for: {message.hex()}"
    (value,) = struct.unpack("<d", message[-8:])
    return int(value)


MODBUS: Final = Speech(_modbus_length, _modbus_value)
OPC_UA: Final = Speech(_opc_ua_length, _opc_ua_value)
