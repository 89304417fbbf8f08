"""One segment file: its name, its making, and a walk along its records."""

import errno
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from plantgate.store.disk import Disk, File, Open
from plantgate.store.record import (
    HEADER_SIZE,
    MARKER_SIZE,
    RECORD_MAGIC,
    RECORD_OVERHEAD,
    Cut,
    Position,
    Record,
    SegmentHeader,
    on_sector,
    pack_header,
    unpack_marker,
    unpack_record,
)

SUFFIX: Final = ".segment"
_CHUNK: Final = 512 * 1024
_BLOCK: Final = 4096


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of a journal, by what is known without reading its records."""

    path: Path
    start: Position
    size: int
    """Bytes on disk, reserved ones included."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that were durable and no longer read back. Not a torn write: somebody's acknowledged records were here."""

    path: Path
    offset: int
    """Where in the file the first unreadable item begins."""
    begins: Position
    """The first record that does not read."""
    resumes: Position
    """The next one that does; the same as `begins` where only a marker is damaged and no record is lost."""

    @property
    def first(self) -> int:
        """Sequence of the first record lost."""
        return self.begins.sequence

    @property
    def last(self) -> int:
        """Sequence of the last record lost; `first - 1` where none is."""
        return self.resumes.sequence - 1

    @property
    def weight(self) -> int:
        """Samples in the records lost: the cumulative weights on both sides say so."""
        return self.resumes.weight - self.begins.weight

    @property
    def after(self) -> int:
        """Sequence of the record at which reading can go on."""
        return self.resumes.sequence

    def holds(self, sequence: int) -> bool:
        """Is it what stands in the way of reading this record?"""
        return self.first <= sequence <= max(self.first, self.last)

    def __str__(self) -> str:
        where = f"{self.path}, byte {self.offset}: stored bytes no longer read back"
        if self.last < self.first:
            return f"{where} (a marker or header beside record {self.first}; no record is lost)"
        return f"{where}; records {self.first} to {self.last} with {self.weight} samples are lost"


def segment_name(sequence: int) -> str:
    """Sorts by sequence; 20 digits hold any 64-bit number."""
    return f"{sequence:020d}{SUFFIX}"


def create(disk: Disk, directory: Path, header: SegmentHeader, size: int) -> tuple[Segment, File]:
    """A reserved, durable, empty segment. After an error nothing of it is left, if the disk lets us tidy up."""
    path = directory / segment_name(header.start.sequence)
    file = disk.open(path, Open.NEW)
    try:
        file.allocate(size)
        file.pwrite(pack_header(header), 0)
        file.datasync()
        disk.sync_directory(directory)
    except OSError:
        file.close()
        with suppress(OSError):
            disk.unlink(path)
            disk.sync_directory(directory)
        raise
    return Segment(path, header.start, size), file


class SegmentWalk:
    """Steps from record to record, checking each, reading the file in large pieces.

    Only for what is known to be durable: anything unreadable on the way is `Damage`.
    """

    def __init__(self, file: File, segment: Segment, seed: int) -> None:
        self.segment = segment
        self.position = segment.start
        """The record `step` gives next."""
        self._file = file
        self._seed = seed
        self._offset = HEADER_SIZE
        self._content = b""
        self._begin = 0
        self._group = segment.start.sequence
        self._durable = 0

    def close(self) -> None:
        self._file.close()

    def step(self, end: Position, durable: int | None = None) -> Record | Damage | None:
        """The next record before `end`, or the damage where it should be; None at `end`.

        `durable` is the offset up to which the file may be read: what is being written beyond must not be remembered.
        """
        self._durable = self.segment.size if durable is None else durable
        while self.position.sequence < end.sequence:
            found = self._record(self._offset)
            if found is not None:
                record, group = found
                if (
                    record.sequence == self.position.sequence
                    and record.cumulative - record.weight == self.position.weight
                ):
                    return self._take(self._offset, record, group)
            elif self._is_marker(self._offset):
                self._offset = on_sector(self._offset + MARKER_SIZE)
                continue
            return self._resume(end)
        return None

    def _take(self, offset: int, record: Record, group: int) -> Record:
        self._offset = offset + RECORD_OVERHEAD + len(record.payload)
        self._group = group
        self.position = record.after
        return record

    def _resume(self, end: Position) -> Damage:
        """Find the next record that reads back; all before it is lost."""
        damaged, expected = self._offset, self.position
        for offset in self._magics(damaged):
            found = self._record(offset)
            if found is not None and expected.sequence <= found[0].sequence < end.sequence:
                record, self._group = found
                self._offset = offset
                self.position = Position(record.sequence, record.cumulative - record.weight)
                break
        else:
            self.position = end
        return Damage(self.segment.path, damaged, expected, self.position)

    def _record(self, offset: int) -> tuple[Record, int] | None:
        content, at = self._read(offset, RECORD_OVERHEAD)
        found = unpack_record(content, at, self._seed)
        if isinstance(found, Cut):
            content, at = self._read(offset, found.need)
            found = unpack_record(content, at, self._seed)
        return None if isinstance(found, Cut) else found

    def _is_marker(self, offset: int) -> bool:
        content, at = self._read(offset, MARKER_SIZE)
        marker = unpack_marker(content, at, self._seed)
        return (
            marker is not None
            and not isinstance(marker, Cut)
            and marker.group == self._group
            and marker.last == self.position.sequence - 1
        )

    def _magics(self, offset: int) -> Iterator[int]:
        """Offsets at which a record might begin."""
        while True:
            content, at = self._read(offset, RECORD_OVERHEAD)
            if len(content) - at < RECORD_OVERHEAD:
                return
            begin = self._begin
            found = content.find(RECORD_MAGIC, at)
            if found >= 0:
                yield begin + found
                offset = begin + found + 1
            else:
                offset = begin + len(content) - len(RECORD_MAGIC) + 1

    def _read(self, offset: int, need: int) -> tuple[bytes, int]:
        """Content that holds `need` bytes from `offset`, if the segment does, and where in it they begin."""
        at = offset - self._begin
        if at < 0 or at + need > len(self._content):
            there = max(0, self._durable - offset)
            # A damaged length may ask for what cannot be there.
            self._content = self._pread(max(need if need <= there else 0, min(_CHUNK, there)), offset)
            self._begin, at = offset, 0
        return self._content, at

    def _pread(self, size: int, offset: int) -> bytes:
        """What the disk cannot read becomes zeros, and so damage, as narrow as the disk allows."""
        try:
            return self._file.pread(size, offset)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            if size <= _BLOCK:
                return bytes(size)
        return b"".join(self._pread(min(_BLOCK, size - at), offset + at) for at in range(0, size, _BLOCK))


def no_space(error: OSError) -> bool:
    """True where the file system is full, or our share of it: it can pass."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
