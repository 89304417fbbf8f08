"""Samples to metrics of a data message: alias, time, quality, value, and no name.

The usual batch, good floats with times, is written column by column: about a third of what the same costs value by
value, and a half of protobuf's own library with its message object made anew.
"""

import struct
from collections.abc import Sequence
from itertools import repeat
from typing import Final

from plantgate.sdk import Value
from plantgate.sdk.quality import GOOD
from plantgate_connectors.sparkplug.catalog import Metric
from plantgate_connectors.sparkplug.datatypes import NULL, DataType, write
from plantgate_connectors.sparkplug.quality import Properties
from plantgate_connectors.sparkplug.stamps import HIGH, LOW, NS, stamp, stamps
from plantgate_connectors.sparkplug.wire import DOUBLE, U64, varint

_HISTORICAL: Final = b"\x28\x01"
_LENGTHS: Final = tuple(b"\x12" + bytes((size,)) for size in range(128))
"""What stands in front of a metric of fewer than 128 bytes."""
_STAMP_BYTES: Final = 6
"""Of every time between 1971 and 2109."""
_DOUBLE: Final = 0x69
_CACHED_MOST: Final = 20_000
_TRUE: Final = b"\x70\x01"
_FALSE: Final = b"\x70\x00"
_pack: Final = DOUBLE.pack


class _Tails(dict[int, bytes]):
    """What stands between the time and the value of a float, by the nanoseconds beyond the millisecond."""

    def __init__(self, flag: bytes) -> None:
        super().__init__()
        self._flag = flag
        self._properties = Properties()

    def __missing__(self, rest: int) -> bytes:
        if len(self) > _CACHED_MOST:
            self.clear()
        written = self[rest] = self._flag + self._properties[GOOD, rest, True] + b"\x69"
        return written


class Columns:
    """Writes metrics; remembers property sets it has written before."""

    def __init__(self, *, exact_time: bool, datatypes: bool = False) -> None:
        """Whether what a source time has below the millisecond goes along as a property; whether types are repeated."""
        self._exact_time = exact_time
        self._datatypes = datatypes
        self._properties = Properties()
        self._layouts: dict[tuple[int, bool], struct.Struct] = {}
        self._tails = (_Tails(b""), _Tails(_HISTORICAL))

    def metrics(
        self,
        metrics: Sequence[Metric],
        values: Sequence[Value],
        qualities: Sequence[int],
        times: Sequence[int | None],
        *,
        otherwise: int,
        historical: bool,
    ) -> bytes:
        """All of them. `otherwise` (ns UTC) is said, and marked, for a sample whose device gave no time."""
        count = len(metrics)
        if not self._datatypes and not any(qualities) and None not in times and set(map(type, values)) == {float}:
            known: Sequence[int] = times  # type: ignore[assignment]  # there is no None among them
            # Counted, since a set of an IntEnum's members calls Python for the hash of each.
            doubles = [metric.datatype for metric in metrics].count(DataType.DOUBLE) == count
            if doubles and min(known) >= NS << 15 and max(known) < NS << 42:
                return self._doubles(metrics, values, known, historical)  # type: ignore[arg-type]  # floats all
        return b"".join(self._each(metrics, values, qualities, times, otherwise, historical))

    def _doubles(
        self, metrics: Sequence[Metric], values: Sequence[float], times: Sequence[int], historical: bool
    ) -> bytes:
        fields = [metric.field for metric in metrics]
        exact = self._exact_time and any(time % NS for time in times)
        width = len(fields[0])
        if width * len(fields) != sum(map(len, fields)):
            width = 0
        if exact or not width:
            return b"".join(self._uneven(fields, values, times, historical, width, exact=exact))
        written = stamps(times)
        layout = self._layout(width, historical)
        size = layout.size - 2
        start, end = (repeat(0x12), repeat(size), fields, written), (repeat(_DOUBLE), values)
        packed = map(layout.pack, *start, repeat(_HISTORICAL), *end) if historical else map(layout.pack, *start, *end)
        return b"".join(packed)

    def _layout(self, width: int, historical: bool) -> struct.Struct:
        found = self._layouts.get((width, historical))
        if found is None:
            written = f"<BB{width}s{_STAMP_BYTES}s{'2s' if historical else ''}Bd"
            found = self._layouts[width, historical] = struct.Struct(written)
        return found

    def _uneven(
        self,
        fields: Sequence[bytes],
        values: Sequence[float],
        times: Sequence[int],
        historical: bool,
        width: int,
        *,
        exact: bool,
    ) -> list[bytes]:
        """Each with its own length, since properties differ in theirs, or (`width` 0) aliases."""
        tails, low, high = self._tails[historical], LOW, HIGH
        pieces = [b""] * (4 * len(fields))
        if exact:
            middles = [
                low[(milliseconds := time // NS) & 0x3FFF] + high[milliseconds >> 14] + tails[time % NS]
                for time in times
            ]
        else:
            tail = tails[0]
            middles = [written + tail for written in stamps(times)]
        if width:
            lengths = _LENGTHS[width + 8 : 128]
            pieces[0::4] = [lengths[len(middle)] for middle in middles]
        else:
            pieces[0::4] = [
                _LENGTHS[len(field) + len(middle) + 8] for field, middle in zip(fields, middles, strict=True)
            ]
        pieces[1::4] = fields
        pieces[2::4] = middles
        pieces[3::4] = map(_pack, values)
        return pieces

    def _each(
        self,
        metrics: Sequence[Metric],
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
        for metric, value, quality, time in zip(metrics, values, qualities, times, strict=True):
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
