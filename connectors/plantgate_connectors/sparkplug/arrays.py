"""Arrays, which Sparkplug packs into bytes (specification 3.0, 6.4.17.3), always little-endian.

The specification's examples for FloatArray and DoubleArray show the bytes the other way round than its rule, and those
for every other type; the rule is what other implementations follow, and so do we.
"""

import struct
from collections.abc import Sequence
from typing import Final

from plantgate.sdk import Value, iso
from plantgate_connectors.sparkplug.wire import Malformed

_FORMATS: Final = {22: "b", 23: "h", 24: "i", 25: "q", 26: "B", 27: "H", 28: "I", 29: "Q", 30: "f", 31: "d", 34: "q"}
_BOOLEANS: Final = 32
_STRINGS: Final = 33
_DATETIMES: Final = 34
FIRST: Final = 22
LAST: Final = 34


def write(datatype: int, values: Sequence[Value]) -> bytes:
    """The bytes of an array; `datatype` is one that holds all values."""
    if datatype == _BOOLEANS:
        bits = "".join("1" if value else "0" for value in values)
        packed = bytes(int(bits[at : at + 8].ljust(8, "0"), 2) for at in range(0, len(bits), 8))
        return struct.pack("<I", len(values)) + packed
    if datatype == _STRINGS:
        return b"".join(str(value).encode() + b"\0" for value in values)
    return struct.pack(f"<{len(values)}{_FORMATS[datatype]}", *values)


def read(datatype: int, packed: bytes) -> list[Value]:
    """The values. A declared count is checked against the bytes that are there. Times become RFC 3339 text, UTC."""
    if datatype == _BOOLEANS:
        return _booleans(packed)
    if datatype == _STRINGS:
        return _strings(packed)
    letter = _FORMATS[datatype]
    size = struct.calcsize(f"<{letter}")
    if len(packed) % size:
        raise Malformed(f"an array of {len(packed)} bytes, which {size} does not divide")
    numbers = struct.unpack(f"<{len(packed) // size}{letter}", packed)
    if datatype == _DATETIMES:
        return [iso(number * 1_000_000) for number in numbers]
    return list(numbers)


def _booleans(packed: bytes) -> list[Value]:
    if len(packed) < 4:
        raise Malformed("an array of booleans without its count")
    count = struct.unpack_from("<I", packed)[0]
    if (count + 7) // 8 != len(packed) - 4:
        raise Malformed(f"an array of {count} booleans in {len(packed) - 4} bytes")
    bits = "".join(f"{byte:08b}" for byte in packed[4:])
    return [bit == "1" for bit in bits[:count]]


def _strings(packed: bytes) -> list[Value]:
    if not packed:
        return []
    if packed[-1]:
        raise Malformed("an array of strings whose last one does not end")
    try:
        return list(packed[:-1].decode().split("\0"))
    except UnicodeDecodeError:
        raise Malformed("an array of strings that is not UTF-8") from None
