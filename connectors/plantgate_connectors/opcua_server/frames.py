"""Chunks as they come off the wire: their heads, and the caps they must keep before a byte of them is waited for.

Format: OPC 10000-6, 7.1.2 (connection protocol) and 6.7.2 (secure conversation).
"""

import asyncio
import struct
from dataclasses import dataclass
from typing import Final

CHUNK_BYTES_MAX: Final = 65_535
"""Largest chunk we take and send; what is said in Acknowledge."""
IDLE_SECONDS_MOST: Final = 3_600.0
"""Longest life of a channel's keys: who says nothing for twice that is gone."""
CHUNK_BYTES_LEAST: Final = 8_192
"""A peer must take so much (OPC 10000-6, 7.1.2.3)."""
_HEAD: Final = struct.Struct("<3scI")
_U32: Final = struct.Struct("<I")
_I32: Final = struct.Struct("<i")

BAD_MESSAGE_TYPE: Final = 0x807E_0000
BAD_TOO_LARGE: Final = 0x8080_0000
BAD_SECURITY_CHECKS: Final = 0x8013_0000
BAD_CHANNEL_UNKNOWN: Final = 0x807F_0000
BAD_INTERNAL: Final = 0x8082_0000
BAD_DECODING: Final = 0x8007_0000
BAD_SEQUENCE: Final = 0x8088_0000
BAD_TOKEN_UNKNOWN: Final = 0x8087_0000
BAD_URL_INVALID: Final = 0x8083_0000
BAD_TIMEOUT: Final = 0x800A_0000
BAD_POLICY_REJECTED: Final = 0x8055_0000
BAD_MODE_REJECTED: Final = 0x8054_0000
BAD_NONCE: Final = 0x8024_0000


class Broken(Exception):
    """The peer does not keep to the protocol: the connection ends with this StatusCode. `reason` is for our log."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk, still sealed."""

    kind: bytes
    """HEL, OPN, MSG, CLO."""
    final: bytes
    """C: more follows; F: the last; A: the message is given up."""
    body: bytes
    """What stands behind the 8 bytes of the head."""

    @property
    def head(self) -> bytes:
        """The head as it was on the wire, which signatures cover."""
        return _HEAD.pack(self.kind, self.final, len(self.body) + 8)


async def read_chunk(reader: asyncio.StreamReader, *, idle_seconds: float, chunk_seconds: float) -> Chunk | None:
    """The next chunk; None at an orderly end. A chunk begun must be whole after `chunk_seconds`. Raises `Broken`."""
    try:
        async with asyncio.timeout(idle_seconds):
            first = await reader.readexactly(1)
    except asyncio.IncompleteReadError:
        return None
    except TimeoutError:
        raise Broken(BAD_TIMEOUT, f"it said nothing for {idle_seconds:g} s") from None
    try:
        async with asyncio.timeout(chunk_seconds):
            kind, final, size = _HEAD.unpack(first + await reader.readexactly(7))
            if kind not in (b"HEL", b"OPN", b"MSG", b"CLO") or final not in b"CFA":
                raise Broken(BAD_MESSAGE_TYPE, "it does not speak OPC UA")
            if not 8 <= size <= CHUNK_BYTES_MAX:
                raise Broken(BAD_TOO_LARGE, f"it announced a chunk of {size} bytes, {CHUNK_BYTES_MAX} is the most")
            return Chunk(kind, final, await reader.readexactly(size - 8))
    except asyncio.IncompleteReadError:
        return None
    except TimeoutError:
        raise Broken(BAD_TIMEOUT, f"a chunk was not whole after {chunk_seconds:g} s") from None


def error(status: int) -> bytes:
    """An ERR message. The reason stays with us: who is refused learns as little as possible."""
    return _HEAD.pack(b"ERR", b"F", 16) + struct.pack("<Ii", status, -1)


@dataclass(frozen=True, slots=True)
class Hello:
    """What a client says first."""

    receive_max: int
    message_max: int
    """0: no limit."""
    chunks_max: int
    """0: no limit."""


def hello(body: bytes) -> Hello:
    """Read a HEL; raises `Broken`."""
    if len(body) < 24:
        raise Broken(BAD_DECODING, "its greeting is too short")
    version, receive, send, message, chunks = struct.unpack_from("<5I", body)
    (length,) = _I32.unpack_from(body, 20)
    if not -1 <= length <= 4096:
        raise Broken(BAD_URL_INVALID, "the address in its greeting is too long")
    if len(body) != 24 + max(0, length):
        raise Broken(BAD_DECODING, "its greeting contradicts itself")
    if receive < CHUNK_BYTES_LEAST or send < CHUNK_BYTES_LEAST:
        raise Broken(
            BAD_TOO_LARGE, f"it offers buffers of {min(receive, send)} bytes, {CHUNK_BYTES_LEAST} is the least"
        )
    del version  # newer ones must be taken too (OPC 10000-6, 7.1.2.3)
    return Hello(min(receive, CHUNK_BYTES_MAX), message, chunks)


def acknowledge(heard: Hello, message_max: int, chunks_max: int) -> bytes:
    """An ACK with our limits."""
    body = struct.pack("<5I", 0, CHUNK_BYTES_MAX, heard.receive_max, message_max, chunks_max)
    return _HEAD.pack(b"ACK", b"F", 8 + len(body)) + body


def take_bytes(body: bytes, at: int, most: int) -> tuple[bytes, int]:
    """A ByteString or String and the offset behind it; null is empty. Raises `Broken`."""
    if at + 4 > len(body):
        raise Broken(BAD_DECODING, "a header is cut short")
    (length,) = _I32.unpack_from(body, at)
    after = at + 4 + max(0, length)
    if length < -1 or length > most or after > len(body):
        raise Broken(BAD_DECODING, f"a header declares {length} bytes")
    return body[at + 4 : after], after


def byte_string(content: bytes) -> bytes:
    """Encoded; empty becomes null."""
    return _I32.pack(len(content) or -1) + content


def framed(kind: bytes, final: bytes, size: int) -> bytes:
    """The 8 bytes before a chunk of `size` bytes in all."""
    return _HEAD.pack(kind, final, size)
