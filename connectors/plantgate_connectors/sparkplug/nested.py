"""What metrics have inside them, read: tables, properties, text that may be none."""

from dataclasses import dataclass, field
from typing import Final

from plantgate_connectors.sparkplug.wire import (
    DOUBLE,
    FIXED32,
    FIXED64,
    FLOAT,
    LENGTH,
    VARINT,
    Malformed,
    read_key,
    read_length,
    read_varint,
    skip,
)

INT, LONG, FLOAT_VALUE, DOUBLE_VALUE, BOOLEAN, STRING, BYTES, DATASET, TEMPLATE = range(10, 19)
"""Fields of a metric that hold its value."""


class BadText:
    """Text that is not UTF-8."""


BAD_TEXT: Final = BadText()


@dataclass(slots=True)
class DataSet:
    """A table."""

    width: int = 0
    columns: list[str] = field(default_factory=list)
    types: list[int] = field(default_factory=list)
    rows: list[list[tuple[int, object]]] = field(default_factory=list)
    """Cells as (field, value) like a metric's, with the fields of a metric."""


def text(written: bytes) -> str | BadText:
    """UTF-8, or not."""
    try:
        return written.decode()
    except UnicodeDecodeError:
        return BAD_TEXT


def read_dataset(body: bytes, at: int, end: int) -> DataSet:
    """A table. What it says of its width is only compared, later, with what it has."""
    found = DataSet()
    while at < end:
        number, kind, at = read_key(body, at, end)
        if number == 1 and kind == VARINT:
            found.width, at = read_varint(body, at, end)
        elif number == 2 and kind == LENGTH:
            start, at = read_length(body, at, end)
            column = text(body[start:at])
            found.columns.append("" if isinstance(column, BadText) else column)
        elif number == 3 and kind == VARINT:
            value, at = read_varint(body, at, end)
            found.types.append(value & 0xFFFF_FFFF)
        elif number == 3 and kind == LENGTH:  # packed: protobuf readers take both
            start, at = read_length(body, at, end)
            while start < at:
                value, start = read_varint(body, start, at)
                found.types.append(value & 0xFFFF_FFFF)
        elif number == 4 and kind == LENGTH:
            start, at = read_length(body, at, end)
            found.rows.append(_row(body, start, at))
        else:
            at = skip(body, at, end, kind)
    return found


def _row(body: bytes, at: int, end: int) -> list[tuple[int, object]]:
    cells = []
    while at < end:
        number, kind, at = read_key(body, at, end)
        if number == 1 and kind == LENGTH:
            start, at = read_length(body, at, end)
            cells.append(_scalar(body, start, at, first=1)[1])
        else:
            at = skip(body, at, end, kind)
    return cells


def read_properties(body: bytes, at: int, end: int) -> dict[str, object]:
    """Names and values; sets of sets are not kept. Raises `Malformed` if there are not as many names as values."""
    names: list[str | BadText] = []
    values: list[object] = []
    while at < end:
        number, kind, at = read_key(body, at, end)
        if number == 1 and kind == LENGTH:
            start, at = read_length(body, at, end)
            names.append(text(body[start:at]))
        elif number == 2 and kind == LENGTH:
            start, at = read_length(body, at, end)
            null, (found, value) = _scalar(body, start, at, first=3)
            values.append(_signed(value) if found == INT and not null else None if null else value)
        else:
            at = skip(body, at, end, kind)
    if len(names) != len(values):
        raise Malformed(f"{len(names)} names for {len(values)} properties")
    return {name: value for name, value in zip(names, values, strict=True) if isinstance(name, str)}


def _signed(value: object) -> object:
    return value - 2**32 if isinstance(value, int) and value >= 2**31 else value


def _scalar(body: bytes, at: int, end: int, *, first: int) -> tuple[bool, tuple[int, object]]:
    """Whether it says that it is null, and (field of a metric, value) of a message whose values begin at `first`."""
    found: tuple[int, object] = (0, None)
    null = False
    while at < end:
        number, kind, at = read_key(body, at, end)
        as_metric = number - first + INT
        if kind == VARINT and as_metric in (INT, LONG, BOOLEAN):
            value, at = read_varint(body, at, end)
            if as_metric == BOOLEAN:
                found = (BOOLEAN, value != 0)
            else:
                found = (as_metric, value & 0xFFFF_FFFF if as_metric == INT else value)
        elif kind == VARINT and number == 2 and first == 3:
            flag, at = read_varint(body, at, end)
            null = flag != 0
        elif kind == FIXED64 and as_metric == DOUBLE_VALUE:
            after = skip(body, at, end, kind)
            found, at = (DOUBLE_VALUE, DOUBLE.unpack_from(body, at)[0]), after
        elif kind == FIXED32 and as_metric == FLOAT_VALUE:
            after = skip(body, at, end, kind)
            found, at = (FLOAT_VALUE, FLOAT.unpack_from(body, at)[0]), after
        elif kind == LENGTH and as_metric == STRING:
            start, at = read_length(body, at, end)
            found = (STRING, text(body[start:at]))
        else:
            at = skip(body, at, end, kind)
    return null, found
