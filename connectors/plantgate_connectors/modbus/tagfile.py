"""Reads a tag list from CSV; every fault is told with file and line."""

import csv
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import Final, TypeVar

from plantgate_connectors.modbus.registers import Field, Order, Table, Type

E = TypeVar("E", bound=Enum)
T = TypeVar("T")

_REQUIRED: Final = ("tag", "address")
_OPTIONAL: Final = ("table", "type", "order", "bit", "bits", "scale", "offset", "length")
_PROBLEMS_MOST: Final = 20
_ROWS_MOST: Final = 500_000
"""More than a device has registers and bits."""


def read_tags(path: Path, order: Order) -> list[Field]:
    """All rows, or ValueError naming each faulty line (the first 20) and what to write instead."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _rows(path, file, order)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}:1: not UTF-8 text ({error.reason}); save it as CSV UTF-8") from error


def _rows(path: Path, lines: Iterable[str], order: Order) -> list[Field]:
    reader = csv.reader(("\n" if line.startswith("#") else line for line in lines), strict=True)
    problems: list[str] = []
    fields: list[Field] = []
    line = 0
    try:
        numbered = ((reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells))
        line, header = next(numbered, (1, []))
        columns = _columns(path, header)
        for line, cells in numbered:
            try:
                fields.append(_field(f"{path.name}:{line}", columns, cells, order))
            except ValueError as error:
                problems.append(f"{path}:{line}: {error}")
            if len(problems) > _PROBLEMS_MOST or len(fields) > _ROWS_MOST:
                break
    except csv.Error as error:
        problems.append(f"{path}:{line + 1}: not CSV: {error}")
    if len(fields) > _ROWS_MOST:
        problems.append(f"{path}: more than {_ROWS_MOST} tags, which no device has room for")
    if problems:
        more = ["… and more"] if len(problems) > _PROBLEMS_MOST else []
        raise ValueError("\n".join(problems[:_PROBLEMS_MOST] + more))
    return fields


def _columns(path: Path, header: list[str]) -> list[str]:
    columns = [cell.strip() for cell in header]
    if missing := [column for column in _REQUIRED if column not in columns]:
        raise ValueError(f"{path}:1: no column {missing[0]!r}; the first line names the columns: tag,address")
    for column in columns:
        if column not in _REQUIRED and column not in _OPTIONAL:
            raise ValueError(f"{path}:1: unknown column {column!r}; there are {', '.join(_REQUIRED + _OPTIONAL)}")
        if columns.count(column) > 1:
            raise ValueError(f"{path}:1: column {column!r} is there twice")
    return columns


def _field(where: str, columns: list[str], cells: list[str], order: Order) -> Field:
    if len(cells) != len(columns):
        raise ValueError(f"{len(cells)} cells, but {len(columns)} columns; quote a cell that holds a comma")
    written = {column: cell.strip() for column, cell in zip(columns, cells, strict=True) if cell.strip()}
    tag = written.get("tag", "")
    if not tag or len(tag) > 512:
        raise ValueError("a tag's name has 1 to 512 characters")
    if "address" not in written:
        raise ValueError(f"tag {tag!r} has no address")
    if "bit" in written and "bits" in written:
        raise ValueError(f"tag {tag!r} has `bit` and `bits`; write one of them")
    table = _choice(written, "table", Table, Table.HOLDING)
    bit = _optional(written, "bit", _whole)
    bits = _optional(written, "bits", _bits) if bit is None else (bit, bit)
    default = Type.BOOL if table.of_bits or (bit is not None and bit < 16) else Type.UINT16
    return Field(
        where=where,
        tag=tag,
        table=table,
        address=_whole(written["address"]),
        type=_choice(written, "type", Type, default),
        order=_choice(written, "order", Order, order),
        bits=bits,
        scale=_optional(written, "scale", _number),
        offset=_optional(written, "offset", _number),
        length=_optional(written, "length", _whole) or 0,
    )


def _optional(written: dict[str, str], column: str, read: Callable[[str], T]) -> T | None:
    if column not in written:
        return None
    try:
        return read(written[column])
    except ValueError as error:
        raise ValueError(f"{column} {error}") from None


def _choice(written: dict[str, str], column: str, kind: type[E], default: E) -> E:
    if column not in written:
        return default
    try:
        return kind(written[column])
    except ValueError:
        there = ", ".join(str(each.value) for each in kind)
        raise ValueError(f"{column} {written[column]!r} is none of {there}") from None


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 6):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def _number(text: str) -> float:
    number = float(text) if text.isascii() and "_" not in text else float("nan")
    if not -1e300 < number < 1e300:
        raise ValueError(f"{text!r} is not a number")
    return number


def _bits(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    if not dash:
        raise ValueError(f"{text!r} is not a range; write 4-7")
    return _whole(first), _whole(last)
