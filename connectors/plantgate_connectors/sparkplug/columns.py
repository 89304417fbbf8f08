"""Samples to metrics of a data message: alias, time, quality, value, and no name.

The usual batch is written column by column, whatever types are mixed in it, at a half to a fifth of what the same costs
value by value: what never changes is remembered with the tags (`lineup`), and the bytes are joined once.
"""

import struct
from collections.abc import Sequence
from functools import partial
from itertools import repeat
from operator import add, call
from typing import Final, NamedTuple

from plantgate.sdk import Value
from plantgate.sdk.quality import GOOD
from plantgate_connectors.sparkplug.datatypes import NULL, DataType, write
from plantgate_connectors.sparkplug.lineup import Lineup
from plantgate_connectors.sparkplug.quality import Properties
from plantgate_connectors.sparkplug.stamps import HIGH, LOW, NS, stamp
from plantgate_connectors.sparkplug.wire import DOUBLE, U64, varint

_HISTORICAL: Final = b"\x28\x01"
_LENGTHS: Final = tuple(b"\x12" + bytes((size,)) for size in range(128))
"""What stands in front of a metric of fewer than 128 bytes."""
_LOW_BYTES: Final = 2
_MILLISECONDS: Final = range(1 << 14, 1 << 63)
"""Times that are written in two steps: the lower 14 bits, and the rest."""
_TIMES: Final = range(NS << 14, NS << 63)
"""The same in nanoseconds."""
_COUNTS_MOST: Final = 16
"""Lengths of batches that are remembered."""
_DOUBLE_BYTES: Final = 8
_CACHED_MOST: Final = 20_000
_TRUE: Final = b"\x70\x01"
_FALSE: Final = b"\x70\x00"
_pack: Final = DOUBLE.pack


class _Column(NamedTuple):
    """One part of every metric."""

    pieces: bytes | Sequence[bytes]
    """Of each; bytes are the same for all."""
    width: int = 0
    """Of every piece, in bytes; 0 where it differs."""


class _Exact(dict[int, bytes]):
    """The properties of a good value, by the nanoseconds beyond the millisecond."""

    def __init__(self, properties: Properties) -> None:
        super().__init__()
        self._properties = properties

    def __missing__(self, rest: int) -> bytes:
        if len(self) > _CACHED_MOST:
            self.clear()
        written = self[rest] = self._properties[GOOD, rest, True]
        return written


class _Qualities(dict[int, bytes]):
    """The properties of a value of this quality, of a whole millisecond."""

    def __init__(self, properties: Properties) -> None:
        super().__init__()
        self._properties = properties

    def __missing__(self, quality: int) -> bytes:
        if len(self) > _CACHED_MOST:
            self.clear()
        written = self[quality] = self._properties[quality, 0, True]
        return written


class Columns:
    """Writes metrics; remembers property sets it has written before."""

    def __init__(self, *, exact_time: bool, datatypes: bool = False) -> None:
        """Whether what a source time has below the millisecond goes along as a property; whether types are repeated."""
        self._exact_time = exact_time
        self._datatypes = datatypes
        self._properties = Properties()
        self._exact = _Exact(self._properties)
        self._qualities = _Qualities(self._properties)
        self._doubles: dict[int, tuple[struct.Struct, struct.Struct]] = {}

    def metrics(
        self,
        lineup: Lineup,
        values: Sequence[Value],
        qualities: Sequence[int],
        times: Sequence[int | None],
        *,
        otherwise: int,
        historical: bool,
    ) -> bytes:
        """All of them. `otherwise` (ns UTC) is said, and marked, for a sample whose device gave no time."""
        if values and not self._datatypes and None not in times:
            known: Sequence[int] = times  # type: ignore[assignment]  # there is no None among them
            middle = self._middle(qualities, known, _HISTORICAL if historical else b"")
            if middle is not None:
                columns = _Column(lineup.fields, lineup.width), *middle, *self._values(lineup, values)
                written = _together(columns, len(values))
                if written is not None:
                    return written
        return b"".join(self._each(lineup, values, qualities, times, otherwise, historical))

    # Column by column.

    def _values(self, lineup: Lineup, values: Sequence[Value]) -> tuple[_Column, _Column]:
        """The value fields: keys, and what follows them."""
        keys, writers = lineup.keys, lineup.writers
        unusual = lineup.unusual(values)
        if unusual:
            keys, writers = keys.copy(), writers.copy()
            for place in unusual:
                field = write(lineup.metrics[place].announced_as, values[place])
                keys[place], writers[place] = field[:1], partial(_already, field[1:])
        elif lineup.floats:
            floats = self._floats(values)  # type: ignore[arg-type]  # they are of the usual kind
            return _Column(keys[0], 1), _Column(floats, _DOUBLE_BYTES)
        return _Column(keys, 1), _Column(list(map(call, writers, values)))

    def _floats(self, values: Sequence[float]) -> Sequence[bytes]:
        """Packed together and cut, at half of what it takes one by one."""
        count = len(values)
        found = self._doubles.get(count)
        if found is None:
            if len(self._doubles) >= _COUNTS_MOST:
                self._doubles.clear()
            found = struct.Struct(f"<{count}d"), struct.Struct(f"{_DOUBLE_BYTES}s" * count)
            self._doubles[count] = found
        together, one_by_one = found
        return one_by_one.unpack(together.pack(*values))

    def _middle(self, qualities: Sequence[int], times: Sequence[int], flag: bytes) -> list[_Column] | None:
        """Time, flag and properties; None for times too far from ours."""
        first, good = times[0], qualities.count(GOOD) == len(qualities)
        if times.count(first) == len(times):
            if first not in _TIMES:
                return None
            moment = stamp(first // NS) + flag
            rest = first % NS if self._exact_time else 0
            if good:
                moment += self._exact[rest]
            columns = [_Column(moment, len(moment))]
            rests = [rest] * len(times) if rest else []
        else:
            milliseconds = [time // NS for time in times]
            least, most = min(milliseconds), max(milliseconds)
            if least not in _MILLISECONDS or most not in _MILLISECONDS:
                return None
            low, high = LOW, HIGH
            columns = [_Column([low[number & 0x3FFF] for number in milliseconds], _LOW_BYTES)]
            if least >> 14 == most >> 14:
                rest_of_all = high[most >> 14] + flag
                columns.append(_Column(rest_of_all, len(rest_of_all)))
            else:
                columns.append(_Column([high[number >> 14] + flag for number in milliseconds]))
            rests = [time % NS for time in times] if self._exact_time else []
            if good and any(rests):
                columns.append(_Column(list(map(self._exact.__getitem__, rests))))
        if not good:
            if any(rests):
                properties = self._properties
                columns.append(
                    _Column([properties[quality, rest, True] for quality, rest in zip(qualities, rests, strict=True)])
                )
            else:
                columns.append(_Column(list(map(self._qualities.__getitem__, qualities))))
        return columns

    # Value by value.

    def _each(
        self,
        lineup: Lineup,
        values: Sequence[Value],
        qualities: Sequence[int],
        times: Sequence[int | None],
        otherwise: int,
        historical: bool,
    ) -> list[bytes]:
        flag = _HISTORICAL if historical else b""
        unknown = stamp(otherwise // NS)
        properties, exact, typed = self._properties, self._exact_time, self._datatypes
        pieces: list[bytes] = []
        last, moment, rest = -1, b"", 0
        for metric, value, quality, time in zip(lineup.metrics, values, qualities, times, strict=True):
            if time is None or time < 0:
                head, extra = metric.field + unknown, properties[quality, 0, False]
            else:
                if time != last:
                    milliseconds, rest = divmod(time, NS)
                    last, moment, rest = time, stamp(milliseconds), rest if exact else 0
                head, extra = metric.field + moment, properties[quality, rest, True] if quality or rest else b""
            datatype = metric.datatype
            if typed:
                extra = b"\x20" + varint(metric.announced_as) + extra
            if value is None:
                content = head + flag + extra + NULL
            elif datatype is DataType.DOUBLE:
                content = head + flag + extra + b"\x69" + _pack(value)
            elif datatype is DataType.BOOLEAN:
                content = head + flag + extra + (_TRUE if value else _FALSE)
            elif datatype is DataType.INT64 and type(value) is int:
                content = head + flag + extra + b"\x58" + varint(value & U64)
            else:
                content = head + flag + extra + write(metric.announced_as, value)
            size = len(content)
            pieces.append(_LENGTHS[size] if size < 128 else b"\x12" + varint(size))
            pieces.append(content)
        return pieces


def _together(columns: Sequence[_Column], count: int) -> bytes | None:
    """Metrics of these parts; None where one takes more than 127 bytes."""
    fixed, sizes = 0, None
    for pieces, width in columns:
        if width or isinstance(pieces, bytes):
            fixed += width
        else:
            more = map(len, pieces)
            sizes = more if sizes is None else map(add, sizes, more)
    step = 1 + len(columns)
    laid = [b""] * (step * count)
    try:
        laid[0::step] = repeat(_LENGTHS[fixed], count) if sizes is None else map(_LENGTHS[fixed:].__getitem__, sizes)
    except IndexError:
        return None
    for place, (pieces, _) in enumerate(columns, 1):
        laid[place::step] = repeat(pieces, count) if isinstance(pieces, bytes) else pieces
    return b"".join(laid)


def _already(written: bytes, _value: object) -> bytes:
    return written
