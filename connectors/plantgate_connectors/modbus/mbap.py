"""Framing of Modbus TCP: a header with a transaction id and a length (Modbus Messaging on TCP/IP 1.0b, 3.1.3)."""

import struct
from typing import Final, NamedTuple

_HEADER: Final = struct.Struct(">HHHB")
_PREFIX_BYTES: Final = 6
"""The part that the length does not count."""
_LENGTH_MIN: Final = 3
"""Unit, function, and one byte more."""
_LENGTH_MAX: Final = 254
"""Unit and the largest PDU, 253 bytes."""


class Malformed(Exception):
    """What came is not Modbus; where the next frame begins cannot be known."""


class Frame(NamedTuple):
    """One answer, its PDU at least two bytes long."""

    transaction: int
    unit: int
    pdu: bytes


class Mbap:
    """Cuts a stream into answers; holds at most the beginning of one."""

    def __init__(self) -> None:
        self._held = b""

    def frame(self, transaction: int, unit: int, pdu: bytes) -> bytes:
        """A request as it goes out."""
        return _HEADER.pack(transaction, 0, len(pdu) + 1, unit) + pdu

    def feed(self, received: bytes) -> list[Frame]:
        """The answers that are complete now. Raises `Malformed` as soon as a header cannot be one."""
        stream = self._held + received if self._held else received
        frames: list[Frame] = []
        at, end = 0, len(stream)
        while end - at > _PREFIX_BYTES:
            transaction, protocol, length, unit = _HEADER.unpack_from(stream, at)
            if protocol != 0:
                raise Malformed(f"protocol id {protocol}, Modbus has 0")
            if not _LENGTH_MIN <= length <= _LENGTH_MAX:
                raise Malformed(f"a length of {length}, which no answer has")
            after = at + _PREFIX_BYTES + length
            if after > end:
                break
            frames.append(Frame(transaction, unit, stream[at + _PREFIX_BYTES + 1 : after]))
            at = after
        self._held = stream[at:]
        return frames

    def forget(self) -> int:
        """Drop what has come of the next frame; returns how many bytes that was."""
        dropped, self._held = len(self._held), b""
        return dropped
