"""Decodes data change notifications straight into columns.

The library builds five objects for each value (6-9 µs); here runs of values with the same layout are unpacked by one
precompiled `struct.Struct` into columns (0.2-0.4 µs). What is unusual (arrays, structures, texts in other forms) is
first walked for its bounds and then given to the library's decoder, item by item.
Format: OPC 10000-4, 7.25.2 (DataChangeNotification), encoded by OPC 10000-6, 5.2.2.17 (DataValue).
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import variant_from_binary

from plantgate.sdk.quality import BAD_DECODING, GOOD, OVERFLOW, UNCERTAIN, severity
from plantgate.sdk.sample import Value
from plantgate_connectors.opcua.bounds import MalformedNotification, Walk, skip_diagnostic_info, skip_variant
from plantgate_connectors.opcua.envelope import Part

ITEMS_MAX: Final = 65_536
"""Values in one notification: the gateway asks for far fewer, and decoding more would hold up everyone else."""

_EPOCH_TICKS: Final = 116_444_736_000_000_000
"""1970 in units of 100 ns since 1601, the zero of an OPC UA DateTime."""
_TICKS_MIN: Final = _EPOCH_TICKS - 2**63 // 100
_TICKS_MAX: Final = _EPOCH_TICKS + 2**63 // 100 - 1
"""Years 1677 to 2262: what fits a 64-bit count of nanoseconds."""

_SCALARS: Final = {
    0: "",
    1: "?",
    2: "b",
    3: "B",
    4: "h",
    5: "H",
    6: "i",
    7: "I",
    8: "q",
    9: "Q",
    10: "f",
    11: "d",
    19: "I",
}
_STRING: Final = 12
_BLOCK_BITS: Final = 8
"""Values are unpacked 256, 128, … at a time: few sizes to compile, and tuples short enough to stay in the cache."""


@dataclass(slots=True)
class Columns:
    """Values in the order the server sent them, as parallel columns; `handles` are the client handles."""

    handles: list[int] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    qualities: list[int] = field(default_factory=list)
    times: list[int | None] = field(default_factory=list)
    """Source times, ns UTC; None where the server gave none or one that no clock shows."""
    overflows: list[int] = field(default_factory=list)
    """Rows before which the server dropped values of the same tag."""
    structures: list[int] = field(default_factory=list)
    """Rows whose value is a structure."""
    latest: int = 0
    """The latest source time; what is not ahead of the clock need not be looked at one by one."""
    worst: int = 0
    """At least the greatest status code as it came; 0 where all are plainly good."""
    doubted: int = 0
    """Source times that were out of range."""
    undecodable: int = 0

    def __len__(self) -> int:
        return len(self.handles)


class _Raw:
    """What is on the wire, row by row; judged and converted for the whole message at once."""

    __slots__ = ("handles", "nanoseconds", "statuses", "structures", "ticks", "undecodable", "values")

    def __init__(self) -> None:
        self.handles: list[int] = []
        self.values: list[Value] = []
        self.statuses: list[int] = []
        self.ticks: list[int] = []
        """Source times in units of 100 ns since 1601; 0 where there is none."""
        self.nanoseconds: dict[int, int] = {}
        """Row: what picoseconds add to its time."""
        self.undecodable: list[int] = []
        self.structures: list[int] = []


class _Layout:
    """Where things lie in a value of one encoding mask and one type."""

    __slots__ = ("_blocks", "_row", "fields", "has_status", "has_time", "has_value", "size", "unpack")

    def __init__(self, mask: int, scalar: str) -> None:
        self.has_value = bool(scalar)
        self.has_status = bool(mask & 0x02)
        self.has_time = bool(mask & 0x04)
        self.fields = 1 + self.has_value + self.has_status + self.has_time
        self._row = f"I2x{scalar}{_tail(mask)}"
        self._blocks: dict[int, struct.Struct] = {}
        row = struct.Struct(f"<{self._row}")
        self.size = row.size
        self.unpack = row.unpack_from

    def block(self, rows: int) -> struct.Struct:
        """So many at once: one flat tuple whose strides are columns, without a tuple for each row."""
        if rows not in self._blocks:
            self._blocks[rows] = struct.Struct("<" + self._row * rows)
        return self._blocks[rows]


def _tail(mask: int) -> str:
    """What follows the value: status, source time, and a server time that is passed over."""
    return ("I" if mask & 0x02 else "") + ("q" if mask & 0x04 else "") + ("8x" if mask & 0x08 else "")


_LAYOUTS: Final = {
    bytes((mask, kind)): _Layout(mask, scalar) for mask in range(1, 16, 2) for kind, scalar in _SCALARS.items()
}
"""By the two bytes behind the client handle: mask with a value and no picoseconds, then the type of a plain scalar."""
_TAILS: Final = {bytes((mask, _STRING)): (struct.Struct("<" + _tail(mask)), mask) for mask in range(1, 16, 2)}
"""The same for a String, whose value ends where its length says."""
_STRING_HEAD: Final = struct.Struct("<I2xi")
Plain = Callable[[ua.Variant], Value]
"""Turns what the library decoded into a value of ours; raises if it cannot."""


def decode(body: bytes, part: Part, plain: Plain, into: Columns) -> None:
    """Append the values of one data change notification to `into`.

    Raises `MalformedNotification`, with `into` as it was, if the message contradicts itself. A value that has bounds
    but no meaning (text that is not UTF-8, a structure that does not fit) becomes None with quality `BAD_DECODING`.
    """
    walk = Walk(body, part.end)
    items = walk.count(part.start, 5, "values", ITEMS_MAX)
    raw = _Raw()
    at = _items(walk, part.start + 4, items, plain, raw)
    diagnostics = walk.count(at, 1, "diagnostic infos", items)
    at += 4
    for _ in range(diagnostics):
        at = skip_diagnostic_info(walk, at)
    if at != part.end:
        raise MalformedNotification(f"{part.end - at} bytes left over", at)
    _judge(raw, into)


def _items(walk: Walk, at: int, items: int, plain: Plain, raw: _Raw) -> int:
    body, end = walk.body, walk.end
    layouts, tails = _LAYOUTS, _TAILS
    left = items
    while left:
        head = body[at + 4 : at + 6]
        layout = layouts.get(head)
        if layout is not None:
            size = layout.size
            if at + size > end:
                raise MalformedNotification(f"a value needs {size} bytes, {end - at} remain", at)
            if left > 1 and body[at + size + 4 : at + size + 6] == head:
                run = _alike(body, at, size, min(left, (end - at) // size))
                _together(body, at, run, layout, raw)
                at += run * size
                left -= run
                continue
            row = layout.unpack(body, at)
            raw.handles.append(row[0])
            raw.values.append(row[1] if layout.has_value else None)
            raw.statuses.append(row[1 + layout.has_value] if layout.has_status else 0)
            raw.ticks.append(row[-1] if layout.has_time else 0)
            at += size
        elif head in tails:
            at = _string(walk, at, *tails[head], raw)
        else:
            at = _unusual(walk, at, plain, raw)
        left -= 1
    return at


def _alike(body: bytes, at: int, size: int, most: int) -> int:
    """How many values from here on have the same mask and type, and so the same size; exact by induction."""
    head = body[at + 4 : at + 6]
    stop = at + size * most
    masks = body[at + 4 : stop : size]
    kinds = body[at + 5 : stop : size]
    return min(most - len(masks.lstrip(head[:1])), most - len(kinds.lstrip(head[1:])))


def _together(body: bytes, at: int, run: int, layout: _Layout, raw: _Raw) -> None:
    fields = layout.fields
    status_at, time_at = 1 + layout.has_value, fields - 1
    left = run
    while left:
        rows = 1 << min(_BLOCK_BITS, left.bit_length() - 1)
        flat = layout.block(rows).unpack_from(body, at)
        raw.handles += flat[::fields]
        if layout.has_value:
            raw.values += flat[1::fields]
        if layout.has_status:
            raw.statuses += flat[status_at::fields]
        if layout.has_time:
            raw.ticks += flat[time_at::fields]
        at += rows * layout.size
        left -= rows
    if not layout.has_value:
        raw.values += [None] * run
    if not layout.has_status:
        raw.statuses += [0] * run
    if not layout.has_time:
        raw.ticks += [0] * run


def _string(walk: Walk, at: int, tail: struct.Struct, mask: int, raw: _Raw) -> int:
    body = walk.body
    if at + 10 > walk.end:
        raise MalformedNotification(f"a string needs 10 bytes, {walk.end - at} remain", at)
    handle, length = _STRING_HEAD.unpack_from(body, at)
    stop: int = at + 10 + length
    if length < 0:
        if length < -1:
            raise MalformedNotification(f"a string of {length} bytes", at + 6)
        stop = at + 10
    after = stop + tail.size
    if after > walk.end:
        raise MalformedNotification(f"a string of {length} bytes, {walk.end - at - 10} remain", at + 6)
    try:
        raw.values.append(body[at + 10 : stop].decode() if length >= 0 else None)
    except UnicodeDecodeError:
        raw.values.append(None)
        raw.undecodable.append(len(raw.handles))
    raw.handles.append(handle)
    rest = tail.unpack_from(body, stop)
    raw.statuses.append(rest[0] if mask & 0x02 else 0)
    raw.ticks.append(rest[-1] if mask & 0x04 else 0)
    return after


def _unusual(walk: Walk, at: int, plain: Plain, raw: _Raw) -> int:
    """A value that has no layout: without a value, with picoseconds, or of a type that varies in size."""
    after = walk.need(at, 4, "a client handle")
    raw.handles.append(int.from_bytes(walk.body[at:after], "little"))
    return _data_value(walk, after, plain, raw)


def _data_value(walk: Walk, at: int, plain: Plain, raw: _Raw) -> int:
    body, row = walk.body, len(raw.values)
    after = walk.need(at, 1, "a value")
    mask, at = body[at], after
    value: Value = None
    if mask & 0x01:
        start, at = at, skip_variant(walk, at)
        try:
            value = _by_library(body[start:at], plain)
        except Exception:  # noqa: BLE001  whatever the decoder of a structure raises concerns this one value
            raw.undecodable.append(row)
        if isinstance(value, dict):
            raw.structures.append(row)
    status = ticks = 0
    rest = (4 if mask & 0x02 else 0) + 8 * (mask & 0x0C).bit_count() + 2 * (mask & 0x30).bit_count()
    after = walk.need(at, rest, "a value")
    if mask & 0x02:
        status = int.from_bytes(body[at : at + 4], "little")
        at += 4
    if mask & 0x04:
        ticks = int.from_bytes(body[at : at + 8], "little", signed=True)
        if mask & 0x10:  # tens of picoseconds below the tick of 100 ns
            raw.nanoseconds[row] = min(int.from_bytes(body[at + 8 : at + 10], "little"), 9_999) // 100
    raw.values.append(value)
    raw.statuses.append(status)
    raw.ticks.append(ticks)
    return after


def decode_values(walk: Walk, at: int, handles: int | Sequence[int], plain: Plain, into: Columns) -> int:
    """Append an array of DataValues; returns the offset behind it. Raises as `decode` does.

    All of one item, as HistoryData holds them, or one of each item, as a ReadResponse does.
    """
    values = walk.count(at, 1, "values", ITEMS_MAX)
    if not isinstance(handles, int) and values != len(handles):
        raise MalformedNotification(f"{values} values where {len(handles)} were due", at)
    at += 4
    raw = _Raw()
    for _ in range(values):
        at = _data_value(walk, at, plain, raw)
    raw.handles = [handles] * values if isinstance(handles, int) else list(handles)
    _judge(raw, into)
    return at


def _by_library(encoded: bytes, plain: Plain) -> Value:
    """Raises whatever it likes; the bounds have been walked, but not yet inside structures."""
    skip_variant(Walk(encoded, len(encoded), inside=True), 0)
    buffer = Buffer(encoded)
    variant = variant_from_binary(buffer)
    if len(buffer):
        raise ValueError(f"{len(buffer)} bytes left over")
    return plain(variant)


def _judge(raw: _Raw, into: Columns) -> None:
    first = len(into)
    worst = max(raw.statuses, default=0)
    if first:
        into.handles += raw.handles
        into.values += raw.values
        into.qualities += raw.statuses
    else:
        into.handles, into.values, into.qualities = raw.handles, raw.values, raw.statuses
    _times(raw.ticks, into)
    if worst:
        into.worst = max(into.worst, worst)
        into.overflows += [first + row for row, status in enumerate(raw.statuses) if status & OVERFLOW == OVERFLOW]
    for row, nanoseconds in raw.nanoseconds.items():
        time = into.times[first + row]
        into.times[first + row] = None if time is None else time + nanoseconds
    for row in raw.undecodable:
        into.qualities[first + row] = BAD_DECODING
        into.worst = max(into.worst, BAD_DECODING)
    into.undecodable += len(raw.undecodable)
    into.structures += [first + row for row in raw.structures]


def _times(ticks: list[int], into: Columns) -> None:
    if not ticks:
        return
    earliest, latest = min(ticks), max(ticks)
    into.latest = max(into.latest, (latest - _EPOCH_TICKS) * 100)
    if earliest <= _TICKS_MIN or latest >= _TICKS_MAX:
        first = len(into.times)
        into.times += map(_nanoseconds, ticks)
        _doubt([first + row for row, tick in enumerate(ticks) if _out_of_range(tick)], into)
    elif earliest == latest:
        into.times += [(earliest - _EPOCH_TICKS) * 100] * len(ticks)
    else:
        epoch = _EPOCH_TICKS
        into.times += [(tick - epoch) * 100 for tick in ticks]


_NO_TIME: Final = frozenset({0, -(2**63)})
"""How servers write "no time": zero by the specification, the least DateTime by some stacks."""


def _out_of_range(ticks: int) -> bool:
    return not _TICKS_MIN < ticks < _TICKS_MAX and ticks not in _NO_TIME


def _nanoseconds(ticks: int) -> int | None:
    return (ticks - _EPOCH_TICKS) * 100 if _TICKS_MIN < ticks < _TICKS_MAX else None


def _doubt(rows: list[int], into: Columns) -> None:
    into.doubted += len(rows)
    for row in rows:
        if severity(into.qualities[row]) == GOOD:
            into.qualities[row] = UNCERTAIN
