"""The bytes of a journal: segment header, records, commit markers.

A segment is a file of fixed size. It begins with a header of two sectors; groups of records follow, each written by one
write and made durable by one sync, each beginning on a sector boundary and ending with a commit marker. The rest of the
file is zeros. Integers are little-endian.

Segment header, 56 bytes in a sector of 512, and the same again in the next sector:

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

Commit marker, 44 bytes, then zeros to the next sector boundary:

    0       4     magic ``CMT1``
    4       4     CRC32 of bytes 8..40, begun as above
    8       8     group: sequence of its first record
    16      8     sequence of its last record
    24      8     cumulative weight, the group included
    32      4     bytes of the group from its first record to the end of this marker
    36      4     how many sectors of the group are all zeros because its payloads are
    40      4     magic ``1TMC``, so that the last byte of a group is never zero

Why a sector boundary: a group never shares a sector with an acknowledged one, so a power cut in the middle of a write
cannot harm what was acknowledged; and every sector of a group that was being written is afterwards either whole or
zeros, which tells a torn write from a flipped bit (`plantgate.store.recovery`).
Why the journal id in the CRC: bytes of another journal, or a journal inside a payload, never pass for records.
Why CRC-32 and not CRC-32C: it is in the standard library, runs at 1.9 GB/s without holding the interpreter lock, and
finds every burst up to 32 bits, every two flips in a record of any allowed size and every three up to 11 KiB.
CRC-32C is stronger (three flips at any size, five below 655 bytes) and would need a compiled dependency.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, NamedTuple

from plantgate.store.disk import SECTOR

HEADER_SIZE: Final = 2 * SECTOR
VERSION: Final = 1
RECORD_OVERHEAD: Final = 48
MARKER_SIZE: Final = 44
RECORD_MAGIC: Final = b"REC1"
MARKER_MAGIC: Final = b"CMT1"
_MARKER_END: Final = b"1TMC"
_BLANK: Final = bytes(SECTOR)
_SEGMENT_MAGIC: Final = b"PGJRNL\r\n"

_HEADER = struct.Struct("<8sII")
_HEADER_BODY = struct.Struct("<16sQQQ")
_RECORD = struct.Struct("<4sIIIQQQQ")
_RECORD_BODY = struct.Struct("<IIQQQQ")
_MARKER = struct.Struct("<4sIQQQII4s")
_MARKER_BODY = struct.Struct("<QQQII")
_CRC_AT = struct.Struct("<4sI")


class Position(NamedTuple):
    """Between two records: the sequence of the next one, and the weight of all before it."""

    sequence: int
    weight: int


START: Final = Position(0, 0)
"""Where a new journal begins."""


class Head(NamedTuple):
    """How far a journal is durable."""

    position: Position
    offset: int
    """Where in its last segment the next group goes."""
    appended: int = 0
    """Weight appended since it was opened: counted from what was given, not from what is stored."""


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
    blank: int
    """Sectors of the group that are zeros on purpose."""


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """What a segment says of itself."""

    journal: bytes
    """Random id of the journal, 16 bytes."""
    start: Position
    made: int
    """ns UTC."""


class BadHeader(ValueError):
    """A copy of a segment header cannot be trusted."""


def journal_seed(journal: bytes) -> int:
    """What every checksum of a journal's records begins with."""
    return zlib.crc32(journal)


def pack_header(header: SegmentHeader) -> bytes:
    """The first two sectors of a segment."""
    body = _HEADER_BODY.pack(header.journal, *header.start, header.made)
    sector = _HEADER.pack(_SEGMENT_MAGIC, VERSION, zlib.crc32(body)) + body
    return sector.ljust(SECTOR, b"\0") * 2


def unpack_header(sector: bytes) -> SegmentHeader:
    """One of the two copies. Raises `BadHeader` with the reason."""
    if len(sector) < SECTOR:
        raise BadHeader(f"only {len(sector)} bytes")
    magic, version, checksum = _HEADER.unpack_from(sector)
    if magic != _SEGMENT_MAGIC:
        raise BadHeader("not a journal segment")
    if version != VERSION:
        raise BadHeader(f"format version {version}, this plantgate reads {VERSION}")
    if checksum != zlib.crc32(sector[_HEADER.size : _HEADER.size + _HEADER_BODY.size]):
        raise BadHeader("checksum of the header does not match")
    journal, sequence, weight, made = _HEADER_BODY.unpack_from(sector, _HEADER.size)
    return SegmentHeader(journal, Position(sequence, weight), made)


def on_sector(offset: int) -> int:
    """The next sector boundary at or after an offset."""
    return -(-offset // SECTOR) * SECTOR


def group_size(payload_bytes: int, records: int) -> int:
    """Bytes a group takes on disk, padding included."""
    return on_sector(payload_bytes + records * RECORD_OVERHEAD + MARKER_SIZE)


def pack_group(items: Sequence[tuple[bytes, int]], start: Position, time: int, seed: int) -> tuple[bytes, Position]:
    """The bytes of one group of (payload, weight), padded to a sector, and the position behind it."""
    group = start.sequence
    after = Position(group + len(items), start.weight + sum([weight for _, weight in items]))
    pack, crc, begin = _RECORD_BODY.pack, zlib.crc32, _CRC_AT.pack
    sequences = range(group, after.sequence)
    cumulatives = accumulate([weight for _, weight in items], initial=start.weight)
    next(cumulatives)
    # Small audit records come by the thousand: one checksum and two packs for each, in comprehensions.
    records = [
        pack(len(payload), weight, sequence, cumulative, time, group) + payload
        for (payload, weight), sequence, cumulative in zip(items, sequences, cumulatives, strict=True)
    ]
    written = b"".join([part for record in records for part in (begin(RECORD_MAGIC, crc(record, seed)), record)])
    length = len(written) + MARKER_SIZE
    body = _MARKER_BODY.pack(group, after.sequence - 1, after.weight, length, blank_sectors(written))
    padding = bytes(on_sector(length) - length)
    marker = _CRC_AT.pack(MARKER_MAGIC, zlib.crc32(body, seed)) + body + _MARKER_END
    return written + marker + padding, after


def blank_sectors(content: bytes) -> int:
    """How many whole sectors of a group are zeros. Almost always none, and then this is one search."""
    count = 0
    offset = content.find(_BLANK)
    while offset >= 0:
        offset = on_sector(offset)
        count += content[offset : offset + SECTOR] == _BLANK
        offset = content.find(_BLANK, offset + 1)
    return count


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
    magic, checksum, group, last, cumulative, length, blank, end = _MARKER.unpack_from(content, offset)
    body = content[offset + _CRC_AT.size : offset + MARKER_SIZE - len(_MARKER_END)]
    if magic != MARKER_MAGIC or end != _MARKER_END or checksum != zlib.crc32(body, seed):
        return None
    return Marker(group, last, cumulative, length, blank)
