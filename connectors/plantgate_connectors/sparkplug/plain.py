"""One metric of the usual kind, read without ceremony: alias, time, perhaps properties, and a value, in this order."""

from collections.abc import Mapping
from typing import Final, TypeAlias

from plantgate_connectors.sparkplug.nested import BOOLEAN, DOUBLE_VALUE, LONG, STRING, read_properties, text
from plantgate_connectors.sparkplug.reading import Reading
from plantgate_connectors.sparkplug.wire import DOUBLE, read_varint

STAMP_BYTES: Final = 6
"""Of every time between 1971 and 2109."""
MORE: Final = bytes(number >> 7 for number in range(256))
"""To tell the bytes of a number that have another after them."""
_CACHED_MOST: Final = 4_096
Plain: TypeAlias = tuple[int, int, int, object, Mapping[str, object] | None]
"""Alias, time (ms), field, value and properties of a metric that has nothing else: a bare tuple: there are many."""


class _Stamps(dict[bytes, int]):
    """Times in milliseconds of the usual six bytes; -1 for six bytes that are not one number."""

    def __missing__(self, written: bytes) -> int:
        if len(self) > _CACHED_MOST:
            self.clear()
        alone = len(written) == STAMP_BYTES and written.translate(MORE) == b"\1\1\1\1\1\0"
        found = self[written] = number_of(written) if alone else -1
        return found


class _Properties(dict[bytes, Mapping[str, object]]):
    """Property sets that were read before: there are few, and each comes often. Raises `Malformed`."""

    def __missing__(self, written: bytes) -> Mapping[str, object]:
        if len(self) > _CACHED_MOST:
            self.clear()
        found = self[written] = read_properties(written, 0, len(written))
        return found


_STAMPS: Final = _Stamps()
_PROPERTIES: Final = _Properties()
_double: Final = DOUBLE.unpack_from


def read_plain(body: bytes, at: int, end: int) -> Plain | None:
    """A metric of alias, time, perhaps properties, and a value, in this order; None for any other."""
    if end - at < 12 or body[at] != 0x10:
        return None
    alias = body[at + 1]
    at += 2
    if alias > 127:
        alias = alias & 127 | body[at] << 7
        if body[at] > 127:
            return None
        at += 1
    milliseconds = _STAMPS[body[at + 1 : at + 1 + STAMP_BYTES]]
    if body[at] != 0x18 or milliseconds < 0 or at + 9 > end:
        return None
    at += 1 + STAMP_BYTES
    properties: Mapping[str, object] | None = None
    if body[at] == 0x4A:
        after = at + 2 + body[at + 1]
        if body[at + 1] > 127 or after + 2 > end:
            return None
        properties = _PROPERTIES[body[at + 2 : after]]
        at = after
    key, size = body[at], end - at - 1
    if key == 0x69:
        return (alias, milliseconds, DOUBLE_VALUE, _double(body, at + 1)[0], properties) if size == 8 else None
    if key == 0x70:
        return (alias, milliseconds, BOOLEAN, body[at + 1] == 1, properties) if size == 1 and body[at + 1] < 2 else None
    if key == 0x58:
        value, after = read_varint(body, at + 1, end)
        return (alias, milliseconds, LONG, value, properties) if after == end else None
    if key == 0x7A and body[at + 1] == size - 1 < 128:
        return alias, milliseconds, STRING, text(body[at + 2 : end]), properties
    return None


def as_reading(plain: Plain) -> Reading:
    """The same at full length."""
    alias, milliseconds, kind, value, properties = plain
    return Reading(
        alias=alias, time=milliseconds, kind=kind, value=value, properties=dict(properties) if properties else {}
    )


def number_of(written: bytes) -> int:
    """A number as it is written, which is known to end."""
    found = 0
    for byte in reversed(written):
        found = found << 7 | byte & 127
    return found
