"""Cuts a file into records by byte offset, in bounded memory, without ever taking half a line for a whole one."""

import os
from dataclasses import dataclass, field
from typing import Final, NamedTuple

_BLOCK: Final = 64 * 1024


class Place(NamedTuple):
    """How far into a file: everything before `offset` has been dealt with."""

    offset: int = 0
    line: int = 0
    """Lines before it."""
    inside: bool = False
    """In the middle of an overlong line, whose rest is skipped."""


START: Final = Place()


class Record(NamedTuple):
    """One line (CSV: one row, which may span lines inside quotes), without its line end."""

    line: int
    """Number of its first line, from 1."""
    offset: int
    raw: bytes
    fault: str = ""
    """Why it cannot be read at all, where it cannot; `raw` then holds its beginning."""
    ended: bool = True
    """False for the last line of a file that has no line end: it may be half of one."""


@dataclass(slots=True)
class Cut:
    """Records, and the place after them."""

    records: list[Record] = field(default_factory=list)
    place: Place = START
    at_end: bool = False
    """Nothing more to cut until the file grows."""


def cut(fd: int, place: Place, *, most: int, line_most: int, quoted: bool, finished: bool) -> Cut:
    """Up to `most` records from `place` on. A `finished` file's last line counts without a line end too.

    A line longer than `line_most` bytes, or a quoted cell that does not end within as many, comes as a record with a
    fault; reading goes on with the next line.
    """
    found = Cut(place=place)
    buffer, start = b"", place.offset
    while len(found.records) < most:
        block = os.pread(fd, _BLOCK, start + len(buffer))
        buffer += block
        used = _cut_buffer(buffer, start, found, most, line_most, quoted=quoted, last=finished and not block)
        buffer, start = buffer[used:], start + used
        if not block:
            if finished and buffer and len(found.records) < most:
                _take_rest(buffer, start, found)
                buffer = b""
            found.at_end = len(found.records) < most
            break
    return found


def _cut_buffer(buffer: bytes, start: int, found: Cut, most: int, line_most: int, *, quoted: bool, last: bool) -> int:
    """Move whole records from the buffer to `found`; returns how many bytes it used."""
    at = 0
    line, inside = found.place.line, found.place.inside
    while len(found.records) < most:
        end = buffer.find(b"\n", at)
        if inside:
            if end < 0:
                at = len(buffer)
                break
            at, line, inside = end + 1, line + 1, False
            continue
        if end < 0 and len(buffer) - at <= line_most:
            break
        if end < 0 or end - at > line_most:
            fault = f"longer than {line_most} bytes"
            found.records.append(Record(line + 1, start + at, buffer[at : at + 200], fault))
            inside = end < 0
            at, line = (len(buffer), line) if inside else (end + 1, line + 1)
            continue
        stop, lines = _row_end(buffer, at, end, line_most) if quoted else (end, 1)
        if stop is None and not last and len(buffer) - at <= line_most:
            break
        if stop is None:
            found.records.append(Record(line + 1, start + at, buffer[at : at + 200], "a quoted cell does not end"))
            stop, lines = end, 1
        else:
            found.records.append(Record(line + 1, start + at, buffer[at:stop].removesuffix(b"\r")))
        at, line = stop + 1, line + lines
    found.place = Place(start + at, line, inside)
    return at


def _row_end(buffer: bytes, at: int, end: int, line_most: int) -> tuple[int | None, int]:
    """Where the row that begins at `at` ends, and how many lines it spans; None while its quotes are not balanced."""
    quotes = buffer.count(b'"', at, end)
    lines = 1
    while quotes % 2:
        following = buffer.find(b"\n", end + 1)
        if following < 0 or following - at > line_most:
            return None, 1
        quotes += buffer.count(b'"', end + 1, following)
        end, lines = following, lines + 1
    return end, lines


def _take_rest(rest: bytes, start: int, found: Cut) -> None:
    line = found.place.line + 1
    found.records.append(Record(line, start, rest.removesuffix(b"\r"), ended=False))
    found.place = Place(start + len(rest), line)
