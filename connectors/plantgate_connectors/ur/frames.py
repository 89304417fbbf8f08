"""Cuts what a controller sends into RTDE packages, and refuses a length that no package of its kind can have.

Real-Time Data Exchange (RTDE) guide of Universal Robots, protocol version 2: a package is its size (two bytes, itself
included, big-endian), its kind (one byte), its payload.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final

_HEADER: Final = struct.Struct(">HB")
HEADER_BYTES: Final = _HEADER.size
_TEXT_BYTES_MAX: Final = 1 + 255 + 1 + 255 + 1


class Kind(IntEnum):
    """What a package is; an answer is of the kind of its question."""

    PROTOCOL_VERSION = ord("V")
    CONTROLLER_VERSION = ord("v")
    TEXT = ord("M")
    DATA = ord("U")
    OUTPUTS = ord("O")
    INPUTS = ord("I")
    START = ord("S")
    PAUSE = ord("P")


class Malformed(Exception):
    """Not RTDE, or a stream that is out of step; nothing after it can be believed."""


_LENGTHS: Final = {
    Kind.PROTOCOL_VERSION: range(1, 2),
    Kind.CONTROLLER_VERSION: range(16, 17),
    Kind.TEXT: range(3, _TEXT_BYTES_MAX + 1),
    Kind.OUTPUTS: range(1, 2**16 - HEADER_BYTES),
    Kind.INPUTS: range(1, 2**16 - HEADER_BYTES),
    Kind.START: range(1, 2),
    Kind.PAUSE: range(1, 2),
}
"""Bytes of payload of what a controller sends, by kind."""


def package(kind: Kind, payload: bytes = b"") -> bytes:
    """One package as it goes out."""
    return _HEADER.pack(HEADER_BYTES + len(payload), kind) + payload


class Frames:
    """Holds at most one package and a piece. A header is judged as soon as it is there: nobody waits for the bytes
    that a lying length promises."""

    def __init__(self) -> None:
        self.data_bytes: int | None = None
        """Payload of a data package, which the recipe fixes; None while there is no recipe, and so no such package."""
        self._held = bytearray()

    def feed(self, piece: bytes) -> Iterator[tuple[Kind, bytes]]:
        """The packages that are whole now. Raises `Malformed`."""
        self._held += piece
        while len(self._held) >= HEADER_BYTES:
            size, number = _HEADER.unpack_from(self._held)
            kind = self._judged(number, size - HEADER_BYTES)
            if len(self._held) < size:
                return
            payload = bytes(self._held[HEADER_BYTES:size])
            del self._held[:size]
            yield kind, payload

    def _judged(self, number: int, length: int) -> Kind:
        try:
            kind = Kind(number)
        except ValueError:
            raise Malformed(f"a package of kind {number}, which RTDE does not have") from None
        if kind is Kind.DATA:
            if length != self.data_bytes:
                raise Malformed(f"a data package of {length} bytes where the recipe makes {self.data_bytes}")
        elif length not in _LENGTHS[kind]:
            raise Malformed(f"a package {chr(number)!r} of {length} bytes")
        return kind
