"""Sparkplug's data types (specification 3.0, 6.4.16): which fits a value, and how a value of it is written.

The gateway has fewer kinds of numbers than Sparkplug: whole numbers go out as Int64, or UInt64
where that is too small, others as Double.
"""

import base64
import math
from collections.abc import Mapping
from enum import IntEnum
from typing import Final

import msgspec

from plantgate.sdk import Value
from plantgate_connectors.sparkplug import arrays
from plantgate_connectors.sparkplug.wire import DOUBLE, U64, blob, varint


class DataType(IntEnum):
    """Numbers of the types."""

    UNKNOWN = 0
    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATETIME = 13
    TEXT = 14
    UUID = 15
    DATASET = 16
    BYTES = 17
    FILE = 18
    TEMPLATE = 19
    PROPERTYSET = 20
    PROPERTYSETLIST = 21
    INT8_ARRAY = 22
    INT16_ARRAY = 23
    INT32_ARRAY = 24
    INT64_ARRAY = 25
    UINT8_ARRAY = 26
    UINT16_ARRAY = 27
    UINT32_ARRAY = 28
    UINT64_ARRAY = 29
    FLOAT_ARRAY = 30
    DOUBLE_ARRAY = 31
    BOOLEAN_ARRAY = 32
    STRING_ARRAY = 33
    DATETIME_ARRAY = 34


JSON: Final = DataType.TEXT
"""What no other type holds, or what a tag of changing types holds, goes out as text: JSON, its metadata says so."""
NULL: Final = b"\x38\x01"
"""`is_null`."""
_EXACT: Final = 2**53
"""A double holds whole numbers exactly up to here."""
_I64: Final = 2**63


def fit(value: Value) -> DataType:
    """The type for a value that is not None."""
    match value:
        case bool():
            return DataType.BOOLEAN
        case int():
            return DataType.INT64 if -_I64 <= value < _I64 else DataType.UINT64 if 0 <= value <= U64 else JSON
        case float():
            return DataType.DOUBLE
        case str():
            return DataType.STRING if _is_unicode(value) else JSON
        case bytes() | bytearray():
            return DataType.BYTES
        case list() | tuple():
            return _fit_array(value)
        case _:
            return JSON


def _fit_array(values: list[Value] | tuple[Value, ...]) -> DataType:
    kinds = set(map(type, values))
    if kinds == {bool}:
        return DataType.BOOLEAN_ARRAY
    if kinds == {int}:
        within = all(-_I64 <= number < _I64 for number in values)  # type: ignore[operator]  # they are all int
        return DataType.INT64_ARRAY if within else JSON
    if kinds == {float}:
        return DataType.DOUBLE_ARRAY
    if not kinds:
        return DataType.STRING_ARRAY
    if kinds == {str}:
        fine = all(isinstance(text, str) and "\0" not in text and _is_unicode(text) for text in values)
        return DataType.STRING_ARRAY if fine else JSON
    return JSON


def holds(datatype: DataType, value: Value) -> bool:
    """Whether a value (not None) can go out as this type with nothing lost."""
    if datatype is JSON or fit(value) is datatype:
        return True
    if datatype is DataType.DOUBLE:
        return type(value) is int and -_EXACT <= value <= _EXACT
    if datatype is DataType.DOUBLE_ARRAY and isinstance(value, list | tuple):
        return all(type(each) is float or (type(each) is int and -_EXACT <= each <= _EXACT) for each in value)
    return not value and isinstance(value, list | tuple) and datatype >= DataType.INT8_ARRAY


def wider(datatype: DataType | None, value: Value) -> DataType:
    """The type for a tag that had `datatype` and now has a value it does not hold; at the end of the road is JSON."""
    new = fit(value)
    numbers = {DataType.INT64, DataType.DOUBLE}, {DataType.INT64_ARRAY, DataType.DOUBLE_ARRAY}
    if datatype is None or new is datatype:
        return new
    for pair in numbers:
        if {datatype, new} == pair and holds(max(pair), value):
            return max(pair)
    return JSON


def write(datatype: DataType, value: Value) -> bytes:
    """The metric's value field. The type must hold the value; None is written as null."""
    if value is None:
        return NULL
    if datatype is DataType.DOUBLE:
        assert isinstance(value, int | float)
        return b"\x69" + DOUBLE.pack(value)
    if datatype is DataType.INT64 or datatype is DataType.UINT64:
        assert isinstance(value, int)
        return b"\x58" + varint(value & U64)
    if datatype is DataType.BOOLEAN:
        return b"\x70\x01" if value else b"\x70\x00"
    if datatype is DataType.STRING:
        assert isinstance(value, str)
        return blob(b"\x7a", value.encode())
    if datatype is JSON:
        return blob(b"\x7a", as_json(value))
    if datatype is DataType.BYTES:
        assert isinstance(value, bytes | bytearray)
        return blob(b"\x82\x01", bytes(value))
    assert isinstance(value, list | tuple)
    return blob(b"\x82\x01", arrays.write(datatype, value))


def as_json(value: Value) -> bytes:
    """What JSON cannot say is text: "NaN", "Infinity", "-Infinity", bytes in base64."""
    return msgspec.json.encode(_sayable(value))


def _sayable(value: Value) -> object:
    match value:
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case bytes() | bytearray():
            return base64.b64encode(value).decode()
        case str():
            return value if _is_unicode(value) else value.encode(errors="backslashreplace").decode()
        case Mapping():
            return {_sayable(name): _sayable(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_sayable(inner) for inner in value]
        case int() if not -_I64 <= value <= U64:
            return str(value)
        case _:
            return value


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
