"""From what stands in a metric to a value of the gateway, by the type its birth certificate announced.

Times become RFC 3339 text, tables a mapping of `columns` and `rows`, arrays lists. Where implementations differ in
which field a whole number goes into (Tahu writes UInt32 into the 64-bit one), either is taken if the number fits.
Raises `Malformed` for whatever is not of its type: never a value that only looks right.
"""

from typing import Final

import msgspec

from plantgate.sdk import Value, iso
from plantgate_connectors.sparkplug import arrays
from plantgate_connectors.sparkplug.datatypes import DataType
from plantgate_connectors.sparkplug.nested import (
    BOOLEAN,
    BYTES,
    DATASET,
    DOUBLE_VALUE,
    FLOAT_VALUE,
    INT,
    LONG,
    STRING,
    BadText,
    DataSet,
)
from plantgate_connectors.sparkplug.reading import Reading
from plantgate_connectors.sparkplug.wire import Malformed

_BITS: Final = {1: 8, 2: 16, 3: 32, 4: 64, 5: 8, 6: 16, 7: 32, 8: 64}
_SIGNED: Final = frozenset((1, 2, 3, 4))
_TEXTS: Final = frozenset((DataType.STRING, DataType.TEXT, DataType.UUID))
_BLOBS: Final = frozenset((DataType.BYTES, DataType.FILE))


def interpret(reading: Reading, datatype: int, *, json: bool) -> Value:
    """The value; None for null. `json`: whether the birth certificate said that its text is JSON."""
    if reading.null:
        return None
    if reading.kind == 0:
        raise Malformed("a metric without value that is not null")
    if json and datatype == DataType.TEXT:
        return _json(reading.value)
    return _typed(reading.kind, reading.value, datatype)


def _typed(kind: int, value: object, datatype: int) -> Value:
    if datatype in _BITS:
        return _whole(kind, value, datatype)
    if datatype == DataType.DOUBLE or datatype == DataType.FLOAT:
        if kind in (DOUBLE_VALUE, FLOAT_VALUE) and isinstance(value, float):
            return value
    elif datatype == DataType.BOOLEAN:
        if kind == BOOLEAN and isinstance(value, bool):
            return value
    elif datatype in _TEXTS:
        if isinstance(value, BadText):
            raise Malformed("text that is not UTF-8")
        if kind == STRING and isinstance(value, str):
            return value
    elif datatype == DataType.DATETIME:
        if kind in (INT, LONG) and isinstance(value, int):
            return _moment(value)
    elif datatype in _BLOBS:
        if kind == BYTES and isinstance(value, bytes):
            return value
    elif datatype == DataType.DATASET:
        if kind == DATASET and isinstance(value, DataSet):
            return _table(value)
    elif arrays.FIRST <= datatype <= arrays.LAST:
        if kind == BYTES and isinstance(value, bytes):
            return arrays.read(datatype, value)
    else:
        raise Malformed(f"a value of type {datatype}, which is none of a metric")
    raise Malformed(f"a value in field {kind} where its type is {DataType(datatype).name}")


def _whole(kind: int, value: object, datatype: int) -> int:
    bits = _BITS[datatype]
    if kind not in (INT, LONG) or not isinstance(value, int):
        raise Malformed(f"a value in field {kind} where its type is {DataType(datatype).name}")
    if datatype not in _SIGNED:
        if value >> bits:
            raise Malformed(f"{value} where its type is {DataType(datatype).name}")
        return value
    half, whole = 1 << bits - 1, 1 << bits
    if value < half:
        return value
    if value < whole:
        return value - whole
    for width in (32, 64):  # the sign carried on to the width of the field
        if (1 << width) - half <= value < 1 << width:
            return value - (1 << width)
    raise Malformed(f"{value} where its type is {DataType(datatype).name}")


def _moment(milliseconds: int) -> Value:
    if milliseconds >> 63:
        milliseconds -= 1 << 64
    written = iso(milliseconds * 1_000_000)
    if written is None:
        raise Malformed(f"{milliseconds} ms, a time no calendar has")
    return written


def _json(value: object) -> Value:
    if not isinstance(value, str):
        raise Malformed("no text where its metadata says JSON")
    try:
        found: Value = msgspec.json.decode(value)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        raise Malformed("text that is not the JSON its metadata says") from None
    return found


def _table(table: DataSet) -> Value:
    width = len(table.columns)
    if len(table.types) != width or table.width != width:
        raise Malformed(f"a data set of {table.width} columns with {width} names and {len(table.types)} types")
    rows: list[Value] = []
    for row in table.rows:
        if len(row) != width:
            raise Malformed(f"a row of {len(row)} cells in a data set of {width} columns")
        cells: list[Value] = [
            None if kind == 0 else _typed(kind, value, datatype)
            for (kind, value), datatype in zip(row, table.types, strict=True)
        ]
        rows.append(cells)
    return {"columns": list(table.columns), "rows": rows}
