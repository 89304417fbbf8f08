"""Data messages, read quickly: metrics of one shape in a row become columns at once.

What an edge node sends most are metrics of alias, time and a float. Those that follow each other and are laid out alike
lie at equal distances, so each of their bytes is a column that one slice takes out: the constant ones are compared as a
whole, the others unpacked in one call. Every byte of every metric is checked all the same. Whatever is laid out in
another way is read field by field (`reading`), and a test holds the two against each other.
"""

import struct
from dataclasses import dataclass, field
from typing import Final

from plantgate_connectors.sparkplug.plain import MORE, STAMP_BYTES, Plain, read_plain
from plantgate_connectors.sparkplug.reading import METRICS_MAX, Reading, read_metric
from plantgate_connectors.sparkplug.wire import LENGTH, VARINT, Malformed, read_key, read_length, read_varint, skip

_SHORTEST: Final = 16
"""Fewer metrics alike are read sooner one by one."""
_ALIAS_BYTES_MAX: Final = 5
_NS: Final = b"\x0a\x02ns\x12"
"""How a property set begins that has nothing but our nanoseconds."""


@dataclass(slots=True)
class Run:
    """Metrics of one shape, as columns."""

    aliases: tuple[bytes, ...]
    """As they are written."""
    stamps: tuple[bytes, ...]
    """Times in milliseconds, as they are written."""
    nanoseconds: tuple[bytes, ...] | None
    """What `ns` adds to each, as it is written; None for nothing."""
    values: tuple[float, ...]
    start: int
    stop: int
    """Where they stand in the payload."""


@dataclass(slots=True)
class Data:
    """A data message."""

    time: int | None = None
    seq: int | None = None
    parts: list[Run | Plain | Reading] = field(default_factory=list)


def read_data(body: bytes) -> Data:
    """The message in these bytes. Raises `Malformed`."""
    found = Data()
    at, end = 0, len(body)
    parts = found.parts
    unsearched = 0
    while at < end:
        if body[at] == 0x12:
            if unsearched:
                unsearched -= 1
            else:
                run = _run(body, at, end)
                if run is not None:
                    parts.append(run)
                    at = run.stop
                    continue
                unsearched = _SHORTEST // 2  # metrics that are all different are not searched one by one
            start = at + 2
            if start <= end and body[at + 1] < 128 and start + body[at + 1] <= end:  # as nearly always
                at = start + body[at + 1]
            else:
                start, at = read_length(body, at + 1, end)
            parts.append(read_plain(body, start, at) or read_metric(body, start, at))
            if len(parts) > METRICS_MAX:
                raise Malformed(f"more than {METRICS_MAX} metrics")
            continue
        number, kind, at = read_key(body, at, end)
        if number == 3 and kind == VARINT:
            found.seq, at = read_varint(body, at, end)
        elif number == 1 and kind == VARINT:
            found.time, at = read_varint(body, at, end)
        elif number == 2 and kind == LENGTH:
            start, at = read_length(body, at, end)
            parts.append(read_metric(body, start, at))
            if len(parts) > METRICS_MAX:
                raise Malformed(f"more than {METRICS_MAX} metrics")
        else:
            at = skip(body, at, end, kind)
    return found


def read_again(body: bytes, run: Run) -> list[Reading]:
    """The metrics of a run, one by one."""
    found = []
    at = run.start
    while at < run.stop:
        start, at = read_length(body, at + 1, run.stop)
        found.append(read_metric(body, start, at))
    return found


@dataclass(slots=True)
class _Shape:
    """How one metric is laid out: which of its bytes are constant, which of its numbers have more bytes."""

    stride: int
    constant: list[tuple[int, int]]
    """Offset and byte."""
    numbers: list[tuple[int, int]]
    """Offset and length of numbers that differ."""
    layout: struct.Struct


def _run(body: bytes, at: int, end: int) -> Run | None:
    if at + 2 > end:
        return None
    size = body[at + 1]
    stride = size + 2
    count = (end - at) // stride
    stop = at + _SHORTEST * stride
    if count < _SHORTEST or body[at:stop:stride].strip(b"\x12") or body[at + 1 : stop : stride].strip(bytes((size,))):
        return None
    shape = _shape(body, at, end)
    if shape is None:
        return None
    stop = at + count * stride
    for offset, byte in shape.constant:
        column = body[at + offset : stop : stride]
        same = len(column) - len(column.lstrip(bytes((byte,))))
        if same < count:
            if same < _SHORTEST:
                return None
            count, stop = same, at + same * stride
    for offset, length in shape.numbers:
        for place in range(offset, offset + length):
            column = body[at + place : stop : stride].translate(MORE)
            last = place == offset + length - 1
            same = len(column) - len(column.lstrip(b"\0" if last else b"\1"))
            if same < count:
                if same < _SHORTEST:
                    return None
                count, stop = same, at + same * stride
    columns = tuple(zip(*shape.layout.iter_unpack(body[at:stop]), strict=True))
    nanoseconds = columns[2] if len(columns) == 4 else None
    return Run(columns[0], columns[1], nanoseconds, columns[-1], at, stop)


def _shape(body: bytes, at: int, end: int) -> _Shape | None:
    """The layout of the metric that begins here; None for one that is not alias, time, perhaps `ns`, and a float."""
    if at + 2 > end:
        return None
    size = body[at + 1]
    stop = at + 2 + size
    if size > 127 or size < 10 or stop > end or body[at + 2] != 0x10:
        return None
    width = _width(body, at + 3, stop)
    place = at + 3 + width
    if not 0 < width <= _ALIAS_BYTES_MAX or place >= stop or body[place] != 0x18:
        return None
    if _width(body, place + 1, stop) != STAMP_BYTES:
        return None
    constant = [(0, 0x12), (1, size), (2, 0x10), (place - at, 0x18)]
    numbers = [(3, width), (place + 1 - at, STAMP_BYTES)]
    layout = f"<3x{width}sx{STAMP_BYTES}s"
    place += 1 + STAMP_BYTES
    if place + 1 < stop and body[place] == 0x28 and body[place + 1] in (0, 1):
        constant += ((place - at, 0x28), (place + 1 - at, body[place + 1]))
        layout += "2x"
        place += 2
    if place < stop and body[place] == 0x4A:
        found = _nanoseconds(body, place, stop)
        if not found:
            return None
        head, length = found
        constant += ((place - at + step, body[place + step]) for step in range(head))
        numbers.append((place - at + head, length))
        layout += f"{head}x{length}s"
        place += head + length
    if place >= stop or (body[place], stop - place) not in ((0x69, 9), (0x65, 5)):
        return None
    constant.append((place - at, body[place]))
    return _Shape(size + 2, constant, numbers, struct.Struct(layout + ("xd" if body[place] == 0x69 else "xf")))


def _nanoseconds(body: bytes, at: int, stop: int) -> tuple[int, int] | None:
    """For properties that are `ns` alone: bytes before its number, and of its number."""
    head = body[at : at + 11]
    if len(head) < 11 or head[2:7] != _NS or head[8:11] != b"\x08\x03\x18":
        return None
    length = _width(body, at + 11, stop)
    if not 0 < length <= 3 or head[1] != 9 + length or head[7] != 3 + length:
        return None
    return 11, length


def _width(body: bytes, at: int, stop: int) -> int:
    """Bytes of the number that begins here; 0 for one that does not end."""
    for place in range(at, min(stop, at + 10)):
        if body[place] < 128:
            return place - at + 1
    return 0
