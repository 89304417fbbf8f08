"""Reads a tag list from CSV; every fault is told with file and line."""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

from plantgate_connectors.opcua.deadband import Deadband
from plantgate_connectors.opcua.nodeids import Address, parse

T = TypeVar("T")


class Reader(Protocol):
    """What `csv.reader` gives; its type has no public name."""

    line_num: int

    def __iter__(self) -> Iterator[list[str]]: ...


_REQUIRED: Final = ("tag", "node")
_OPTIONAL: Final = ("sampling_interval_ms", "queue_size", "discard_oldest", "deadband", "trigger", "structure")
_PROBLEMS_MOST: Final = 20
_ROWS_MOST: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """One wanted tag; None means "as the connection says"."""

    where: str
    """``tags.csv:12`` or ``tags[3]``, for messages."""
    tag: str
    address: Address
    sampling_interval_ms: float | None = None
    queue_size: int | None = None
    discard_oldest: bool | None = None
    deadband: Deadband | None = None
    trigger: str | None = None
    structure: str | None = None


def read_tags(path: Path) -> list[Row]:
    """All rows, or ValueError naming each faulty line (the first 20) and what to write instead."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _rows(str(path), path.name, file)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}:1: not UTF-8 text ({error.reason}); save it as CSV UTF-8") from error


def _rows(path: str, name: str, lines: Iterator[str]) -> list[Row]:
    reader = csv.reader(_uncommented(lines), strict=True)
    problems: list[str] = []
    rows: list[Row] = []
    line = 0
    try:
        _, header = next(_numbered(reader), (0, []))
        columns = _columns(path, header)
        seen: dict[str, int] = {}
        for line, cells in _numbered(reader):
            if not cells or not any(cell.strip() for cell in cells):
                continue
            try:
                row = _row(f"{name}:{line}", columns, cells)
                if row.tag in seen:
                    raise ValueError(f"tag {row.tag!r} is already given in line {seen[row.tag]}")
                seen[row.tag] = line
                rows.append(row)
            except ValueError as error:
                problems.append(f"{path}:{line}: {error}")
            if len(problems) > _PROBLEMS_MOST or len(rows) > _ROWS_MOST:
                break
    except csv.Error as error:
        problems.append(f"{path}:{line + 1}: not CSV: {error}")
    if len(rows) > _ROWS_MOST:
        problems.append(f"{path}: more than {_ROWS_MOST} tags; split them over several connections")
    if problems:
        more = ["… and more"] if len(problems) > _PROBLEMS_MOST else []
        raise ValueError("\n".join(problems[:_PROBLEMS_MOST] + more))
    return rows


def _uncommented(lines: Iterator[str]) -> Iterator[str]:
    """Comment lines become empty ones, so that line numbers stay true."""
    for line in lines:
        yield "\n" if line.startswith("#") else line


def _numbered(reader: Reader) -> Iterator[tuple[int, list[str]]]:
    for cells in reader:
        if cells:
            yield reader.line_num, cells


def _columns(name: str, header: list[str]) -> list[str]:
    columns = [cell.strip() for cell in header]
    if missing := [column for column in _REQUIRED if column not in columns]:
        raise ValueError(f"{name}:1: no column {missing[0]!r}; the first line names the columns: tag,node")
    for column in columns:
        if column not in _REQUIRED and column not in _OPTIONAL:
            raise ValueError(f"{name}:1: unknown column {column!r}; there are {', '.join(_REQUIRED + _OPTIONAL)}")
        if columns.count(column) > 1:
            raise ValueError(f"{name}:1: column {column!r} is there twice")
    return columns


def _row(where: str, columns: list[str], cells: list[str]) -> Row:
    if len(cells) != len(columns):
        raise ValueError(f"{len(cells)} cells, but {len(columns)} columns; quote a cell that holds a comma")
    written = dict(zip(columns, map(str.strip, cells), strict=True))
    tag = written["tag"]
    if not tag or len(tag) > 512:
        raise ValueError("a tag's name has 1 to 512 characters")
    if not written["node"]:
        raise ValueError(f"tag {tag!r} has no node")
    address = parse(written["node"])
    if len(columns) == len(_REQUIRED):
        return Row(where, tag, address)
    return Row(
        where,
        tag,
        address,
        sampling_interval_ms=_optional(written, "sampling_interval_ms", _milliseconds),
        queue_size=_optional(written, "queue_size", _queue_size),
        discard_oldest=_optional(written, "discard_oldest", _boolean),
        deadband=_optional(written, "deadband", Deadband.parse),
        trigger=_optional(written, "trigger", _trigger),
        structure=_optional(written, "structure", _structure),
    )


def _optional(written: dict[str, str], column: str, read: Callable[[str], T]) -> T | None:
    text = written.get(column, "")
    return read(text) if text else None


def _milliseconds(text: str) -> float:
    try:
        interval = float(text)
    except ValueError:
        interval = -1.0
    if not 0 <= interval <= 3_600_000:
        raise ValueError(f"sampling_interval_ms {text!r} is not a number of milliseconds from 0 to 3600000")
    return interval


def _queue_size(text: str) -> int:
    size = int(text) if text.isascii() and text.isdecimal() else 0
    if not 1 <= size <= 100_000:
        raise ValueError(f"queue_size {text!r} is not a whole number from 1 to 100000")
    return size


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"discard_oldest {text!r} is neither true nor false")
    return text == "true"


def _structure(text: str) -> str:
    if text not in ("flatten", "json"):
        raise ValueError(f"structure {text!r} is neither flatten nor json")
    return text


def _trigger(text: str) -> str:
    if text not in ("status", "status_value", "status_value_timestamp"):
        raise ValueError(f"trigger {text!r} is none of status, status_value, status_value_timestamp")
    return text
