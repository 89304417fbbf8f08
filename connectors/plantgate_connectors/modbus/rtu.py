"""Framing of Modbus RTU: unit, PDU, checksum; nothing says where a frame begins (Modbus over Serial Line 1.02, 2.5)."""

from typing import Final

from plantgate_connectors.modbus.mbap import Frame
from plantgate_connectors.modbus.pdu import EXCEPTION

_CRC_BYTES: Final = 2
_EXCEPTION_FRAME_BYTES: Final = 5
_READS: Final = (1, 2, 3, 4)
_WRITES: Final = (5, 6, 16)
_WRITTEN_FRAME_BYTES: Final = 8
_FRAME_BYTES_MIN: Final = 5
_HELD_BYTES_MAX: Final = 512
"""Twice the longest frame: a whole one fits behind any piece of another."""


def _row(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0xA001 if byte & 1 else 0)
    return byte


_CRC: Final = tuple(map(_row, range(256)))


def crc(frame: bytes) -> bytes:
    """The checksum as it goes over the wire, low byte first."""
    value = 0xFFFF
    for byte in frame:
        value = value >> 8 ^ _CRC[(value ^ byte) & 0xFF]
    return value.to_bytes(2, "little")


class Rtu:
    """Finds frames with a right checksum among whatever comes; what is none is counted as noise."""

    def __init__(self) -> None:
        self._held = b""
        self.noise_bytes = 0
        """Passed over since the beginning."""

    def frame(self, transaction: int, unit: int, pdu: bytes) -> bytes:
        """A request as it goes out; RTU has no place for a transaction id."""
        whole = bytes((unit,)) + pdu
        return whole + crc(whole)

    def feed(self, received: bytes) -> list[Frame]:
        """The answers that are complete now; each was sent as a whole, if its checksum does not lie."""
        frames: list[Frame] = []
        stream = self._held + received
        at = 0
        while len(stream) - at >= _FRAME_BYTES_MIN:
            length = _length(stream, at)
            if length and len(stream) - at < length:
                break
            if length and crc(stream[at : at + length - _CRC_BYTES]) == stream[at + length - _CRC_BYTES : at + length]:
                frames.append(Frame(0, stream[at], stream[at + 1 : at + length - _CRC_BYTES]))
                at += length
            else:
                at += 1
                self.noise_bytes += 1
        excess = max(0, len(stream) - at - _HELD_BYTES_MAX)
        self.noise_bytes += excess
        self._held = stream[at + excess :]
        return frames

    def forget(self) -> int:
        """Drop what has come of the next frame; returns how many bytes that was."""
        dropped, self._held = len(self._held), b""
        self.noise_bytes += dropped
        return dropped


def _length(stream: bytes, at: int) -> int:
    """Bytes of the frame that may begin here; 0 if none can. Only answers to what we ask are ever due."""
    function = stream[at + 1]
    if function & EXCEPTION:
        return _EXCEPTION_FRAME_BYTES if function & 0x7F else 0
    if function in _WRITES:
        return _WRITTEN_FRAME_BYTES
    return 3 + stream[at + 2] + _CRC_BYTES if function in _READS else 0
