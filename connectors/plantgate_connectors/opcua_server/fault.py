"""A service refused: answered with a StatusCode, and the connection goes on."""

import struct
from typing import Final

_FAULT: Final = 397


class Fault(Exception):
    """The request is refused with this StatusCode."""

    def __init__(self, status: int) -> None:
        super().__init__(f"0x{status:08X}")
        self.status = status


def answer(kind: int, handle: int, at: int, body: bytes, status: int = 0) -> bytes:
    """A response from its parts: encoding's number, request handle, time in ticks, what follows the header."""
    return struct.pack("<BBHqIIBiBBB", 1, 0, kind, at, handle, status, 0, -1, 0, 0, 0) + body


def fault(handle: int, at: int, status: int) -> bytes:
    """A ServiceFault."""
    return answer(_FAULT, handle, at, b"", status)


def handle_in(response: bytes) -> int:
    """The request handle in what `answer` made."""
    return int.from_bytes(response[12:16], "little")
