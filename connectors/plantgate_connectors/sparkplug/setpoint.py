"""A setpoint as the value of a metric, of exactly the type that was announced; and whether a report shows it."""

import math
from dataclasses import dataclass
from typing import Final

from plantgate.sdk import Rejected, Setpoint, Value
from plantgate_connectors.sparkplug.datatypes import DataType
from plantgate_connectors.sparkplug.nested import DOUBLE_VALUE, FLOAT_VALUE, INT, LONG
from plantgate_connectors.sparkplug.wire import DOUBLE, FLOAT, U64, blob, varint

TYPES: Final = {
    DataType.BOOLEAN: bool,
    DataType.INT8: int,
    DataType.INT16: int,
    DataType.INT32: int,
    DataType.INT64: int,
    DataType.UINT8: int,
    DataType.UINT16: int,
    DataType.UINT32: int,
    DataType.UINT64: int,
    DataType.FLOAT: float,
    DataType.DOUBLE: float,
    DataType.STRING: str,
}
"""What can be written, and what it is written from."""
_RANGES: Final = {
    DataType.INT8: (-(2**7), 2**7 - 1),
    DataType.INT16: (-(2**15), 2**15 - 1),
    DataType.INT32: (-(2**31), 2**31 - 1),
    DataType.INT64: (-(2**63), 2**63 - 1),
    DataType.UINT8: (0, 2**8 - 1),
    DataType.UINT16: (0, 2**16 - 1),
    DataType.UINT32: (0, 2**32 - 1),
    DataType.UINT64: (0, 2**64 - 1),
}
_SMALL: Final = frozenset((DataType.INT8, DataType.INT16, DataType.INT32, DataType.UINT8, DataType.UINT16))
"""Go into the 32-bit field. UInt32 goes into the 64-bit one in Tahu, which reads null where it is in the other."""
_IN_SMALL_MOST: Final = {DataType.INT64: 2**31 - 1, DataType.UINT64: 2**32 - 1}
"""Of 64 bits, what the 32-bit field holds whoever reads it: as soon as the highest bit is set, some take it for a sign.
"""
_FLOAT_DIGITS: Final = 7
"""Decimal digits that a Float keeps: 21.1 stands for the one next to it, and 16777217.0 for none (IEEE 754)."""
_SHOWN_MOST: Final = 60


@dataclass(frozen=True, slots=True)
class Sent:
    """What goes out, and what the edge node will report if it takes it."""

    field: bytes
    """The value's field of a metric."""
    value: Setpoint

    def shown_by(self, reported: Value, tolerance: float) -> bool:
        """Whether this report is of that value; of numbers, within the tolerance."""
        value = self.value
        if type(reported) is not type(value):
            return False
        if reported == value:
            return True
        numbers = isinstance(reported, int | float) and isinstance(value, int | float) and type(value) is not bool
        return numbers and abs(reported - value) <= tolerance  # type: ignore[operator]  # both are numbers


def encoded(tag: str, value: Setpoint, datatype: int, kind: int) -> Sent:
    """The value's field. `kind` is the field in which the edge node itself writes this metric, 0 if it has not yet.

    One that looks for a number in another field than it came in finds nothing there, or 0: so it is sent in the one
    that it uses itself, and what that cannot hold is not sent.
    Raises `Rejected`: another kind of value, out of the type's range, NaN, more digits than a Float keeps.
    """
    if datatype not in TYPES:
        named = DataType(datatype).name if datatype in list(DataType) else str(datatype)
        raise Rejected(f"{tag}: the edge node announces a metric of type {named}, which is not written")
    wanted = DataType(datatype)
    if type(value) is not TYPES[wanted]:
        raise _refused(tag, value, f"the edge node announces {wanted.name}")
    if isinstance(value, bool):
        return Sent(b"\x70\x01" if value else b"\x70\x00", value)
    if isinstance(value, int):
        return _whole(tag, value, wanted, small=kind == INT or (kind != LONG and wanted in _SMALL))
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _refused(tag, value, "it is no finite number")
        if wanted is DataType.DOUBLE and kind == FLOAT_VALUE:
            return Sent(b"\x65" + _exact(tag, value), value)
        if wanted is DataType.DOUBLE:
            return Sent(b"\x69" + DOUBLE.pack(value), value)
        value = _single(tag, value)
        return Sent(b"\x69" + DOUBLE.pack(value) if kind == DOUBLE_VALUE else b"\x65" + FLOAT.pack(value), value)
    try:
        return Sent(blob(b"\x7a", value.encode()), value)
    except UnicodeEncodeError:
        raise _refused(tag, value, "it cannot be written as UTF-8") from None


def _whole(tag: str, value: int, wanted: DataType, *, small: bool) -> Sent:
    least, most = _RANGES[wanted]
    if not least <= value <= most:
        raise _refused(tag, value, f"{wanted.name} has room for {least} to {most}")
    if small and wanted in _IN_SMALL_MOST and not 0 <= value <= _IN_SMALL_MOST[wanted]:
        raise _refused(tag, value, f"the edge node writes this {wanted.name} in a field of 32 bits")
    return Sent(b"\x50" + varint(value & 0xFFFF_FFFF) if small else b"\x58" + varint(value & U64), value)


def _single(tag: str, value: float) -> float:
    try:
        (held,) = FLOAT.unpack(FLOAT.pack(value))
    except OverflowError:
        raise _refused(tag, value, "it does not fit a Float") from None
    if held != value and float(f"{held:.{_FLOAT_DIGITS}g}") != value:
        raise _refused(tag, value, f"a Float would hold {held!r}")
    assert isinstance(held, float)
    return held


def _exact(tag: str, value: float) -> bytes:
    try:
        field = FLOAT.pack(value)
    except OverflowError:
        field = b""
    if not field or FLOAT.unpack(field) != (value,):
        raise _refused(tag, value, "the edge node writes this DOUBLE in a field of 32 bits")
    return field


def _refused(tag: str, value: object, why: str) -> Rejected:
    text = repr(value)
    shown = text if len(text) <= _SHOWN_MOST else f"{text[: _SHOWN_MOST - 3]}..."
    return Rejected(f"{tag}: {shown} cannot be written: {why}")
