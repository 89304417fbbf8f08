"""The bytes of a journal: segment header, records, commit markers.

A segment is a file of fixed size. It begins with a header of one sector; groups of records follow, each written by one
write and made durable by one sync, each beginning on a sector boundary and ending with a commit marker. The rest of the
file is zeros. Integers are little-endian.

Segment header, 512 bytes (56 used):

    offset  size  field
    0       8     magic ``PGJRNL\\r\\n`` (the line end shows a file mangled by a text-mode copy)
    8       4     format version, 1
    12      4     CRC32 of bytes 16..56
    16      16    journal id, random, the same in all segments of a journal
    32      8     sequence of the first record
    40      8     cumulative weight before the first record
    48      8     made at, nanoseconds since 1970 UTC

Record, 48 bytes and the payload:

    0       4     magic ``REC1``
    4       4     CRC32 of bytes 8.. to the end of the payload, begun with the CRC32 of the journal id
    8       4     payload length
    12      4     weight: how many samples the payload holds
    16      8     sequence, without holes from 0
    24      8     cumulative weight, this record included
    32      8     appended at, nanoseconds since 1970 UTC
    40      8     group: the sequence of the first record of its group

Commit marker, 40 bytes, then zeros to the next sector boundary:

    0       4     magic ``CMT1``
    4       4     CRC32 of bytes 8..40, begun as above
    8       8     group: sequence of its first record
    16      8     sequence of its last record
    24      8     cumulative weight, the group included
    32      8     bytes of the group from its first record to the end of this marker

Why a sector boundary: a group never shares a sector with an acknowledged one, so a power cut in the middle of a write
cannot harm what was acknowledged; and every sector of a group that was being written is afterwards either whole or zeros,
which tells a torn write from a flipped bit (`plantgate.store.recovery`).
Why the journal id in the CRC: bytes of another journal, or a journal inside a payload, never pass for records.
Why CRC-32 and not CRC-32C: it is in the standard library, runs at 1.9 GB/s here without holding the interpreter lock,
and finds the same classes of errors at these lengths (any burst up to 32 bits, any 3 flips); the Castagnoli polynomial
needs a compiled dependency, and its extra distance matters only for records below 655 bytes.
"""

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from plantgate.store.disk import SECTOR

HEADER_SIZE: Final = SECTOR
VERSION: Final = 1
RECORD_OVERHEAD: Final = 48
MARKER_SIZE: Final = 40
RECORD_MAGIC: Final = b"REC1"
MARKER_MAGIC: Final = b"CMT1"
_SEGMENT_MAGIC: Final = b"PGJRNL\r\n"

_HEADER = struct.Struct("<8sII16sQQQ")
_RECORD = struct.Struct("<4sIIIQQQQ")
_RECORD_BODY = struct.Struct("<IIQQQQ")
_MARKER = struct.Struct("<4sIQQQQ")
_MARKER_BODY = struct.Struct("<QQQQ")
_CRC_AT = struct.Struct("<4sI")


class Position(NamedTuple):
    """Between two records: the sequence of the next one, and the weight of all before it."""

    sequence: int
    weight: int


class Record(NamedTuple):
    """A committed record."""

    sequence: int
    weight: int
    cumulative: int
    """Weight of all records up to and including this one."""
    time: int
    """Appended at, ns UTC, by our clock."""
    payload: bytes

    @property
    def after(self) -> Position:
        """The position behind it."""
        return Position(self.sequence + 1, self.cumulative)


class Marker(NamedTuple):
    """The end of a group."""

    group: int
    last: int
    cumulative: int
    length: int


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """What a segment says of itself."""

    journal: bytes
    """Random id of the journal, 16 bytes."""
    start: Position
    made: int
    """ns UTC."""


class BadHeader(ValueError):
    """The first sector of a segment cannot be trusted."""


def pack_header(header: SegmentHeader) -> bytes:
    """The first sector of a segment."""
    body = _HEADER.pack(_SEGMENT_MAGIC, VERSION, 0, header.journal, *header.start, header.made)
    checksum = zlib.crc32(body[16:])
    packed = _HEADER.pack(_SEGMENT_MAGIC, VERSION, checksum, header.journal, *header.start, header.made)
    return packed.ljust(HEADER_SIZE, b"\0")


def unpack_header(sector: bytes) -> SegmentHeader:
    """Raises `BadHeader` with the reason."""
    if len(sector) < HEADER_SIZE:
        raise BadHeader(f"only {len(sector)} bytes")
    magic, version, checksum, journal, sequence, weight, made = _HEADER.unpack_from(sector)
    if magic != _SEGMENT_MAGIC:
        raise BadHeader("not a journal segment")
    if version != VERSION:
        raise BadHeader(f"format version {version}, this plantgate reads {VERSION}")
    if checksum != zlib.crc32(sector[16 : _HEADER.size]):
        raise BadHeader("checksum of the header does not match")
    return SegmentHeader(journal, Position(sequence, weight), made)


def on_sector(offset: int) -> int:
    """The next sector boundary at or after an offset."""
    return -(-offset // SECTOR) * SECTOR


def group_size(payload_bytes: int, records: int) -> int:
    """Bytes a group takes on disk, padding included."""
    return on_sector(payload_bytes + records * RECORD_OVERHEAD + MARKER_SIZE)


def pack_group(items: Iterable[tuple[bytes, int]], start: Position, time: int, seed: int) -> tuple[bytes, Position]:
    """The bytes of one group of (payload, weight), padded to a sector, and the position behind it."""
    sequence, cumulative = start
    group = sequence
    parts: list[bytes] = []
    length = MARKER_SIZE
    for payload, weight in items:
        cumulative += weight
        body = _RECORD_BODY.pack(len(payload), weight, sequence, cumulative, time, group)
        parts.append(_CRC_AT.pack(RECORD_MAGIC, zlib.crc32(payload, zlib.crc32(body, seed))))
        parts.append(body)
        parts.append(payload)
        length += RECORD_OVERHEAD + len(payload)
        sequence += 1
    body = _MARKER_BODY.pack(group, sequence - 1, cumulative, length)
    parts += (_CRC_AT.pack(MARKER_MAGIC, zlib.crc32(body, seed)), body, bytes(on_sector(length) - length))
    return b"".join(parts), Position(sequence, cumulative)


class Cut:
    """Not an error: the bytes end before the item does. `need` bytes from its offset would hold it."""

    __slots__ = ("need",)

    def __init__(self, need: int) -> None:
        self.need = need


def unpack_record(content: bytes, offset: int, seed: int) -> tuple[Record, int] | Cut | None:
    """The record at an offset and its group; `Cut` if the content ends too early; None if there is no valid one."""
    if len(content) - offset < RECORD_OVERHEAD:
        return Cut(RECORD_OVERHEAD)
    magic, checksum, length, weight, sequence, cumulative, time, group = _RECORD.unpack_from(content, offset)
    if magic != RECORD_MAGIC:
        return None
    end = offset + RECORD_OVERHEAD + length
    if end > len(content):
        return Cut(RECORD_OVERHEAD + length)
    if checksum != zlib.crc32(memoryview(content)[offset + 8 : end], seed):
        return None
    payload = content[offset + RECORD_OVERHEAD : end]
    return Record(sequence, weight, cumulative, time, payload), group


def unpack_marker(content: bytes, offset: int, seed: int) -> Marker | Cut | None:
    """As `unpack_record`, for a commit marker."""
    if len(content) - offset < MARKER_SIZE:
        return Cut(MARKER_SIZE)
    magic, checksum, *fields = _MARKER.unpack_from(content, offset)
    if magic != MARKER_MAGIC or checksum != zlib.crc32(content[offset + 8 : offset + MARKER_SIZE], seed):
        return None
    return Marker(*fields)
