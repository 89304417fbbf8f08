"""Protocol Buffers on the wire, as far as Sparkplug needs them: numbers, keys, lengths, each checked before its use."""

import struct
from typing import Final

VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2
FIXED32: Final = 5

_VARINT_BYTES_MAX: Final = 10
_SHORT_BYTES_MAX: Final = 5
"""Of a key, or of a length: protobuf's own readers take no more."""
_KEY_MAX: Final = 2**32 - 1
U64: Final = 2**64 - 1
DOUBLE: Final = struct.Struct("<d")
FLOAT: Final = struct.Struct("<f")


class Malformed(Exception):
    """Bytes that are not a Sparkplug payload; says why in a few words."""


def varint(number: int) -> bytes:
    """A whole number from 0 on, seven bits a byte, the low ones first."""
    if number < 128:
        return bytes((number,))
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    written.append(number)
    return bytes(written)


def blob(key: bytes, content: bytes) -> bytes:
    """A field that has a length in front: text, bytes, a message."""
    return key + varint(len(content)) + content


def read_varint(body: bytes, at: int, end: int, most: int = _VARINT_BYTES_MAX) -> tuple[int, int]:
    """The number at `at`, of at most so many bytes, cut to 64 bits, and where the next thing begins."""
    number = shift = 0
    last = min(end, at + most)
    while at < last:
        byte = body[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number & U64, at
        shift += 7
    raise Malformed("a number that does not end")


def read_key(body: bytes, at: int, end: int) -> tuple[int, int, int]:
    """Field number, wire type, and where its content begins."""
    key, at = read_varint(body, at, end, _SHORT_BYTES_MAX)
    if key < 8 or key > _KEY_MAX:
        raise Malformed("a field number that cannot be")
    return key >> 3, key & 7, at


def read_length(body: bytes, at: int, end: int) -> tuple[int, int]:
    """Where a field with a length begins and ends; never beyond `end`."""
    size, at = read_varint(body, at, end, _SHORT_BYTES_MAX)
    if size > end - at:
        raise Malformed(f"a length of {size} where {end - at} bytes are left")
    return at, at + size


def skip(body: bytes, at: int, end: int, kind: int) -> int:
    """Past a field nobody knows."""
    if kind == VARINT:
        return read_varint(body, at, end)[1]
    if kind == LENGTH:
        return read_length(body, at, end)[1]
    if kind not in (FIXED64, FIXED32):
        raise Malformed("a kind of field that Sparkplug does not have")
    at += 8 if kind == FIXED64 else 4
    if at > end:
        raise Malformed("a number that is cut off")
    return at
