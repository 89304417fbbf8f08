"""Times as Sparkplug has them: whole milliseconds since 1970 UTC, as a protobuf number."""

from collections.abc import Sequence
from typing import Final

from plantgate_connectors.sparkplug.wire import varint

NS: Final = 1_000_000
"""Nanoseconds in a millisecond."""
LOW: Final = tuple(bytes((number & 127 | 128, number >> 7 | 128)) for number in range(1 << 14))
"""The first two bytes, of the lower 14 bits, with more to come."""
_CACHED_MOST: Final = 4_096


class _High(dict[int, bytes]):
    """The rest of a number, of the bits above 14: for times, the same for 16 seconds."""

    def __missing__(self, number: int) -> bytes:
        if len(self) > _CACHED_MOST:
            self.clear()
        written = self[number] = varint(number)
        return written


HIGH: Final = _High()


def stamp(milliseconds: int) -> bytes:
    """A time, without its key. One before 1970 or beyond 64 bits, which Sparkplug cannot say, is 0."""
    if milliseconds < 1 << 14:
        return varint(max(milliseconds, 0))
    return LOW[milliseconds & 0x3FFF] + HIGH[milliseconds >> 14]


def stamps(times: Sequence[int]) -> list[bytes]:
    """Many times (ns since 1970 UTC) at once."""
    if not times:
        return []
    if times.count(times[0]) == len(times):  # of one poll
        return [stamp(times[0] // NS)] * len(times)
    if min(times) < NS << 14:
        return [stamp(time // NS) for time in times]
    low, high = LOW, HIGH
    return [low[(ms := time // NS) & 0x3FFF] + high[ms >> 14] for time in times]
