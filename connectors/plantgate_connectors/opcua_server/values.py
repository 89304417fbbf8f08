"""Turns a value into an OPC UA Variant, and a reading into a DataValue, once, when it is accepted.

Every subscription and every read then sends the same bytes: no object is built for a value, and none encoded twice.
Format: OPC 10000-6, 5.2.2.16 (Variant) and 5.2.2.17 (DataValue).
"""

import json
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Final, TypeGuard

from plantgate.sdk import Value

NULL: Final = 0
BOOLEAN: Final = 1
INT32: Final = 6
UINT32: Final = 7
INT64: Final = 8
UINT64: Final = 9
DOUBLE: Final = 11
STRING: Final = 12
DATE_TIME: Final = 13
BYTE_STRING: Final = 15
LOCALIZED_TEXT: Final = 21
VARIANT: Final = 24
"""Numbers of built-in types (OPC 10000-6, Table 1), which are also the node ids of the data types in namespace 0."""

SCALAR: Final = -1
"""Value rank of a value that is no array."""

EPOCH_TICKS: Final = 116_444_736_000_000_000
"""1970 in units of 100 ns since 1601, the zero of an OPC UA DateTime."""
_TICKS_MAX: Final = 2_650_467_743_990_000_000
"""The end of 9999: what is later is written as the largest DateTime and read as "unknown" (OPC 10000-6, 5.2.2.5)."""

DEPTH_MAX: Final = 8
"""Lists within lists; a reader must be able to follow."""

OVERFLOW: Final = 0x0000_0480
"""DataValue and Overflow bits of a StatusCode (OPC 10000-4, 7.39.1)."""

_U32: Final = struct.Struct("<I")
_I32: Final = struct.Struct("<i")
_SHORT: Final = struct.Struct("<B?")
_WHOLE: Final = struct.Struct("<Bq")
_REAL: Final = struct.Struct("<Bd")
_TEXT: Final = struct.Struct("<Bi")
_STATUS_BOTH: Final = struct.Struct("<Iqq")
_STATUS_SERVER: Final = struct.Struct("<Iq")
_BOTH: Final = struct.Struct("<qq")
_SERVER: Final = struct.Struct("<q")
_HEADS: Final = tuple(bytes((mask,)) for mask in range(16))

_ARRAYS: Final = {bool: (BOOLEAN, "?"), int: (INT64, "q"), float: (DOUBLE, "d")}


class Unwritable(ValueError):
    """OPC UA has no way to say this value; the message is a clause."""


def ticks(time: int | None) -> int:
    """Nanoseconds since 1970 as a DateTime; 0, which means "none", for none and for what no DateTime holds."""
    if time is None:
        return 0
    found = EPOCH_TICKS + time // 100
    return found if 0 < found < _TICKS_MAX else 0


def variant(value: Value) -> bytes:
    """The encoded Variant; empty for None. Raises `Unwritable`."""
    kind = type(value)
    if kind is float:
        return _REAL.pack(DOUBLE, value)
    if kind is int:
        return _whole(value)  # type: ignore[arg-type]  # mypy does not narrow by `kind is`
    if kind is bool:
        return _SHORT.pack(BOOLEAN, value)
    if kind is str:
        text = value.encode("utf-8", "replace")  # type: ignore[union-attr]  # as above; lone surrogates become "?"
        return _TEXT.pack(STRING, len(text)) + text
    return _rarer(value)


def _rarer(value: Value) -> bytes:
    if value is None:
        return b""
    if isinstance(value, bytes):
        return _TEXT.pack(BYTE_STRING, len(value)) + value
    if isinstance(value, Mapping):
        text = json.dumps(_plain(value, 0), ensure_ascii=False).encode("utf-8", "replace")
        return _TEXT.pack(STRING, len(text)) + text
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _array(value, 0)
    return variant(_simple(value))


def _simple(value: object) -> Value:
    """Subclasses of what we know, as what they are."""
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    raise Unwritable(f"a {type(value).__name__} has no OPC UA type")


def _whole(value: int) -> bytes:
    if -(2**63) <= value < 2**63:
        return _WHOLE.pack(INT64, value)
    if value < 2**64 and value > 0:
        return struct.pack("<BQ", UINT64, value)
    raise Unwritable("a whole number of more than 64 bits has no OPC UA type")


def _array(value: Sequence[Value], depth: int) -> bytes:
    if depth >= DEPTH_MAX:
        raise Unwritable(f"lists nested deeper than {DEPTH_MAX} are not shown")
    shape = _shape(value)
    cells = _cells(value, len(shape)) if shape else None
    if shape and cells is not None and (flat := _alike(cells)):
        kind, body = flat
        if len(shape) == 1:
            return bytes((kind | 0x80,)) + body
        return bytes((kind | 0xC0,)) + body + struct.pack(f"<i{len(shape)}i", len(shape), *shape)
    elements = [_array(each, depth + 1) if _is_list(each) else variant(each) or b"\0" for each in value]
    return bytes((VARIANT | 0x80,)) + _I32.pack(len(elements)) + b"".join(elements)


def _is_list(value: Value) -> TypeGuard[Sequence[Value]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _shape(value: Sequence[Value]) -> list[int]:
    """Lengths, level by level, if lists of one level are equally long; nothing if they are not."""
    shape = [len(value)]
    level: Sequence[Value] = value
    while level and all(_is_list(each) for each in level):
        rows = [each for each in level if _is_list(each)]
        if len({len(row) for row in rows}) != 1 or len(shape) >= DEPTH_MAX:
            return []
        shape.append(len(rows[0]))
        level = [cell for row in rows for cell in row]
    return [] if any(_is_list(each) for each in level) or (len(shape) > 1 and 0 in shape) else shape


def _cells(value: Sequence[Value], depth: int) -> list[Value]:
    cells = list(value)
    for _ in range(depth - 1):
        cells = [cell for row in cells if _is_list(row) for cell in row]
    return cells


def _alike(cells: list[Value]) -> tuple[int, bytes] | None:
    """Type and encoded elements, where all are of one type; whole numbers beside real ones become real if exact."""
    kinds = {type(cell) for cell in cells}
    if kinds == {int, float} and all(abs(cell) <= 2**53 for cell in cells if isinstance(cell, int)):
        cells, kinds = [float(cell) for cell in cells if isinstance(cell, int | float)], {float}
    count = _I32.pack(len(cells))
    if not kinds:
        return VARIANT, count
    if len(kinds) > 1:
        return None
    kind = kinds.pop()
    if kind in (str, bytes):
        encoded = [cell.encode("utf-8", "replace") if isinstance(cell, str) else cell for cell in cells]
        body = b"".join(_I32.pack(len(each)) + each for each in encoded if isinstance(each, bytes))
        return (STRING if kind is str else BYTE_STRING), count + body
    if kind not in _ARRAYS:
        return None
    number, letter = _ARRAYS[kind]
    try:
        return number, count + struct.pack(f"<{len(cells)}{letter}", *cells)
    except struct.error:
        pass
    try:
        return UINT64, count + struct.pack(f"<{len(cells)}Q", *cells)
    except struct.error:
        return None


def _plain(value: Value, depth: int) -> object:
    """What JSON can carry of a structure, as the other connectors write it."""
    if depth > 2 * DEPTH_MAX:
        raise Unwritable("a structure nested too deep is not shown")
    if isinstance(value, Mapping):
        return {str(name): _plain(each, depth + 1) for name, each in value.items()}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if _is_list(value):
        return [_plain(each, depth + 1) for each in value]
    return value


def shape_of(encoded: bytes, value: Value) -> tuple[int, int]:
    """Data type and value rank of a value and its encoded Variant; (0, scalar) for none."""
    if not encoded:
        return NULL, SCALAR
    head = encoded[0]
    if not head & 0x80:
        return head, SCALAR
    return head & 0x3F, len(_shape(value)) if head & 0x40 and _is_list(value) else 1


def data_value(body: bytes, status: int, source: int, server: int) -> bytes:
    """A DataValue of an encoded Variant (or nothing), a StatusCode, and times in ticks; source 0 is none."""
    mask = 8 | (1 if body else 0)
    if status:
        if source:
            return _HEADS[mask | 6] + body + _STATUS_BOTH.pack(status, source, server)
        return _HEADS[mask | 2] + body + _STATUS_SERVER.pack(status, server)
    if source:
        return _HEADS[mask | 4] + body + _BOTH.pack(source, server)
    return _HEADS[mask] + body + _SERVER.pack(server)


def with_times(encoded: bytes, wanted: int) -> bytes:
    """The same with the times a client wants: 0 source, 1 server, 2 both, 3 neither (OPC 10000-4, 7.40)."""
    if wanted == 2:
        return encoded
    mask = encoded[0]
    body, status, source, server = parts(encoded)
    keep = mask & 0x03 | (mask & 0x04 if wanted == 0 else 0) | (0x08 if wanted == 1 else 0)
    tail = _U32.pack(status) if mask & 0x02 else b""
    if keep & 0x04:
        tail += _SERVER.pack(source)
    if keep & 0x08:
        tail += _SERVER.pack(server)
    return _HEADS[keep] + body + tail


def parts(encoded: bytes) -> tuple[bytes, int, int, int]:
    """Variant, StatusCode, source and server time of what `data_value` made."""
    mask = encoded[0]
    end = len(encoded) - 8
    (server,) = _SERVER.unpack_from(encoded, end)
    source = status = 0
    if mask & 0x04:
        end -= 8
        (source,) = _SERVER.unpack_from(encoded, end)
    if mask & 0x02:
        end -= 4
        (status,) = _U32.unpack_from(encoded, end)
    return encoded[1:end], status, source, server


def with_status(encoded: bytes, status: int) -> bytes:
    """The same reading under another StatusCode."""
    body, _, source, server = parts(encoded)
    return data_value(body, status, source, server)


def overflowed(encoded: bytes) -> bytes:
    """The same reading, marked: values of this item were dropped beside it."""
    return with_status(encoded, parts(encoded)[1] | OVERFLOW)
