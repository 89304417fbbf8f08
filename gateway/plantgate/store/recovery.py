"""Opens a journal's directory after anything may have happened to it, and says what did.

Only the last segment can have been written when the power went, and only its last group can have been without a sync:
the writer begins a group when the one before is durable. So, where the last segment stops being readable:

- nothing but zeros follows: the journal simply ends here;
- a group of later records follows: the unreadable one was durable once. That is damage, and never the end of the file;
- otherwise it is the last group, and its sectors tell. One of them zeros, or the end missing: a *torn* write, of which
  nobody was told that it is safe. It is moved to a file ``*.torn`` and reported, and its space is zeroed again.
  All there but a checksum wrong: a *flipped bit* in a group that may have been acknowledged: damage.

After damage at the very end, the segment is left as evidence and the next append begins a new one.

What reads back may still be in memory only: the process was killed between write and sync, or the sync failed, after
which the kernel takes the pages for clean. So the last group is written again and synced before it counts as durable.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from plantgate.sdk.errors import GatewayError
from plantgate.store.disk import SECTOR, Disk, Open
from plantgate.store.record import (
    HEADER_SIZE,
    MARKER_MAGIC,
    MARKER_SIZE,
    RECORD_MAGIC,
    RECORD_OVERHEAD,
    START,
    BadHeader,
    Cut,
    Marker,
    Position,
    SegmentHeader,
    journal_seed,
    on_sector,
    pack_header,
    unpack_header,
    unpack_marker,
    unpack_record,
)
from plantgate.store.segment import SUFFIX, Damage, Segment, SegmentWalk, no_space, segment_name

TORN_SUFFIX: Final = ".torn"
_ZEROS: Final = bytes(64 * 1024)
_TORN_KEPT: Final = 16
"""Torn writes kept for inspection; a machine that loses power every hour must not fill its disk with them."""


class JournalDamaged(GatewayError):
    """The journal cannot be opened as it is: what would be needed to go on is unreadable."""


@dataclass(frozen=True, slots=True)
class Torn:
    """A write that a crash cut off; nobody had been told that it is safe."""

    segment: Path
    offset: int
    size: int
    sequence: int
    """The sequence its first record had; the next record appended takes it."""
    kept: Path | None
    """Where its bytes are now; None if the disk was too full to keep them."""

    def __str__(self) -> str:
        return (
            f"{self.segment}, byte {self.offset}: a crash cut off a write of {self.size} bytes before record "
            f"{self.sequence} was acknowledged; set aside as {self.kept or 'nothing, the disk is full'}"
        )


@dataclass(frozen=True, slots=True)
class Found:
    """What is in a journal's directory."""

    journal: bytes | None
    """The journal's id; None for an empty directory."""
    segments: tuple[Segment, ...]
    end: Position
    """Behind the last committed record."""
    offset: int | None
    """Where in the last segment the next group goes; None if it must go to a new segment."""
    torn: Torn | None = None
    damage: tuple[Damage, ...] = ()
    """Seen on the way; the records of earlier segments are checked when they are read."""


def recover(disk: Disk, directory: Path) -> Found:
    """Read all segment headers and the whole last segment; set a torn end aside. Raises `JournalDamaged`, `OSError`."""
    paths = [directory / name for name in disk.names(directory) if name.endswith(SUFFIX)]
    if paths and _is_unfinished(disk, paths[-1]):
        disk.unlink(paths.pop())
        disk.sync_directory(directory)
    if not paths:
        return Found(None, (), START, None)

    segments: list[Segment] = []
    damage: list[Damage] = []
    journals: set[bytes] = set()
    for path in paths:
        segment, header, damaged_copy = _read_header(disk, path)
        if segments and segment.start.weight < segments[-1].start.weight:
            raise JournalDamaged(f"{path} counts fewer samples than {segments[-1].path} before it; restore both")
        segments.append(segment)
        journals.add(header.journal)
        damage += damaged_copy
    if len(journals) > 1:
        raise JournalDamaged(f"{directory} holds segments of different journals; move all but one journal's away")
    return _recover_last(disk, tuple(segments), header, damage)


def _is_unfinished(disk: Disk, path: Path) -> bool:
    """A segment whose making a crash cut off: nothing in it became durable, so no record did."""
    file = disk.open(path, Open.READ)
    try:
        return _written_end(file.pread(HEADER_SIZE, 0), 0) == 0 and _written_end(file.pread(file.size(), 0), 0) == 0
    finally:
        file.close()


def _read_header(disk: Disk, path: Path) -> tuple[Segment, SegmentHeader, list[Damage]]:
    file = disk.open(path, Open.READ)
    try:
        content = file.pread(HEADER_SIZE, 0)
        size = file.size()
    finally:
        file.close()
    headers: list[SegmentHeader] = []
    reasons: list[tuple[int, BadHeader]] = []
    for offset in range(0, HEADER_SIZE, SECTOR):
        try:
            headers.append(unpack_header(content[offset : offset + SECTOR]))
        except BadHeader as error:
            reasons.append((offset, error))
    if not headers:
        raise JournalDamaged(
            f"{path}: {reasons[0][1]}; restore the file from a copy, or move it away to go on without its records"
        )
    header = headers[0]
    if path.name != segment_name(header.start.sequence):
        raise JournalDamaged(f"{path} says that it is {segment_name(header.start.sequence)}; give it that name again")
    damage = [
        Damage(path, offset, header.start, header.start)
        for offset, _ in reasons
        if any(content[offset : offset + SECTOR])  # zeros: a crash while the segment was made; written again below
    ]
    return Segment(path, header.start, size), header, damage


def _recover_last(disk: Disk, segments: tuple[Segment, ...], header: SegmentHeader, damage: list[Damage]) -> Found:
    segment = segments[-1]
    file = disk.open(segment.path, Open.WRITE)
    try:
        content = file.pread(segment.size, 0)
        tail = _Tail(content, journal_seed(header.journal), segment.start)
        tail.read()
        offset: int | None = tail.offset
        file.pwrite(
            content[tail.last_offset : tail.offset] if tail.last_offset else pack_header(header), tail.last_offset
        )
        file.datasync()
        disk.sync_directory(segment.path.parent)
        if tail.skipped:
            damage += _walk(SegmentWalk(file, segment, tail.seed), tail.position)
    finally:
        file.close()
    torn, end = None, tail.position
    if tail.has_more():
        if tail.is_torn():
            torn = _set_aside(disk, segment, content[tail.offset : tail.written_to()], tail.offset, end.sequence)
        else:
            end, offset = tail.last_known(), None
            damage.append(_tail_damage(disk, segment, tail, end))
    return Found(header.journal, segments, end, offset, torn, tuple(damage))


def _walk(walk: SegmentWalk, end: Position) -> list[Damage]:
    found = []
    while (item := walk.step(end)) is not None:
        if isinstance(item, Damage):
            found.append(item)
    return found


def _tail_damage(disk: Disk, segment: Segment, tail: "_Tail", end: Position) -> Damage:
    """What a flipped bit cost: a record of the last group, or only its marker."""
    file = disk.open(segment.path, Open.READ)
    try:
        found = [item for item in _walk(SegmentWalk(file, segment, tail.seed), end) if item.offset >= tail.offset]
    finally:
        file.close()
    return found[0] if found else Damage(segment.path, tail.offset, end, end)


class _Tail:
    """Reads a segment group by group, up to where it stops being readable, and judges what lies there."""

    def __init__(self, content: bytes, seed: int, start: Position) -> None:
        self.seed = seed
        self.position = start
        """Behind the last committed group."""
        self.offset = HEADER_SIZE
        self.last_offset = 0
        """Where the last committed group begins, or the header if there is none."""
        self.skipped = False
        """True when unreadable groups were passed on the way."""
        self._content = content

    def read(self) -> None:
        while True:
            while self._group():
                pass
            later = self._later_group()
            if later is None:
                return
            self.offset, self.position = later
            self.skipped = True

    def has_more(self) -> bool:
        """True if there is anything but zeros after the last committed group."""
        return _written_end(self._content, self.offset) > self.offset

    def written_to(self) -> int:
        """The end of the last sector with anything in it."""
        return min(on_sector(_written_end(self._content, self.offset)), len(self._content))

    def is_torn(self) -> bool:
        """Is a sector of the unreadable group missing? Else all is there, and a bit has flipped."""
        written = self._content[self.offset : self.written_to()]
        blank = sum(not any(written[at : at + SECTOR]) for at in range(0, len(written), SECTOR))
        marker = self._marker()
        if marker is not None:
            return blank > marker.blank
        return blank > 0 or self._is_cut(self.written_to())

    def last_known(self) -> Position:
        """The position behind the last record of the flipped group, from whatever of it still reads."""
        known = [Position(self.position.sequence + 1, self.position.weight)]
        if (marker := self._marker()) is not None:
            known.append(Position(marker.last + 1, marker.cumulative))
        for at in _occurrences(self._content, RECORD_MAGIC, self.offset):
            found = unpack_record(self._content, at, self.seed)
            if isinstance(found, tuple) and found[1] == self.position.sequence:
                known.append(found[0].after)
        return max(known)

    def _group(self) -> bool:
        """Step over a whole, committed group, if one is here."""
        offset, position = self._records()
        marker = unpack_marker(self._content, offset, self.seed)
        if position == self.position or not isinstance(marker, Marker):
            return False
        end = offset + MARKER_SIZE
        if marker[:4] != (self.position.sequence, position.sequence - 1, position.weight, end - self.offset):
            return False
        self.last_offset, self.offset, self.position = self.offset, on_sector(end), position
        return True

    def _records(self) -> tuple[int, Position]:
        """Where the valid records of the group end, and the position behind them."""
        offset, position = self.offset, self.position
        while isinstance(found := unpack_record(self._content, offset, self.seed), tuple):
            record, group = found
            before = Position(record.sequence, record.cumulative - record.weight)
            if before != position or group != self.position.sequence:
                break
            offset += RECORD_OVERHEAD + len(record.payload)
            position = record.after
        return offset, position

    def _later_group(self) -> tuple[int, Position] | None:
        """A group that was begun after the unreadable one, and so proves that this one had been durable."""
        for at in _occurrences(self._content, RECORD_MAGIC, self.offset + SECTOR):
            found = unpack_record(self._content, at, self.seed) if at % SECTOR == 0 else None
            if isinstance(found, tuple):
                record, group = found
                if group == record.sequence > self.position.sequence:
                    return at, Position(record.sequence, record.cumulative - record.weight)
        return None

    def _marker(self) -> Marker | None:
        """The commit marker of the unreadable group, wherever it is."""
        for at in _occurrences(self._content, MARKER_MAGIC, self.offset):
            marker = unpack_marker(self._content, at, self.seed)
            if isinstance(marker, Marker) and marker.group == self.position.sequence:
                return marker
        return None

    def _is_cut(self, end: int) -> bool:
        """Do the sectors end before what should be there does?"""
        offset, _ = self._records()
        if offset == self.offset:
            return True  # not one record of it reads, nor its marker: stray bytes, or a first record that is cut
        found = unpack_record(self._content[:end], offset, self.seed)
        return isinstance(found, Cut) or offset + MARKER_SIZE > end


def _written_end(content: bytes, begin: int) -> int:
    """The offset behind the last byte that is not zero, `begin` if there is none; quick over megabytes of zeros."""
    end = len(content)
    while end - begin > len(_ZEROS) and content[end - len(_ZEROS) : end] == _ZEROS:
        end -= len(_ZEROS)
    return begin + len(content[begin:end].rstrip(b"\0"))


def _occurrences(content: bytes, magic: bytes, offset: int) -> Iterator[int]:
    while (offset := content.find(magic, offset)) >= 0:
        yield offset
        offset += 1


def _set_aside(disk: Disk, segment: Segment, content: bytes, offset: int, sequence: int) -> Torn:
    kept: Path | None = None
    try:
        kept = _keep(disk, segment.path, content, offset)
    except OSError as error:
        if not no_space(error):
            raise
    file = disk.open(segment.path, Open.WRITE)
    try:
        file.pwrite(bytes(len(content)), offset)
        file.datasync()
    finally:
        file.close()
    return Torn(segment.path, offset, len(content), sequence, kept)


def _keep(disk: Disk, segment: Path, content: bytes, offset: int) -> Path:
    """Copy a torn write to a file of its own; the oldest copies make room."""
    directory = segment.parent
    torn = [name for name in disk.names(directory) if name.endswith(TORN_SUFFIX)]
    for name in torn[: max(0, len(torn) - _TORN_KEPT + 1)]:
        disk.unlink(directory / name)
    taken = set(torn)
    stem = f"{segment.stem}-{offset:08d}"
    path = next(
        path for n in range(len(torn) + 1) if (path := directory / f"{stem}-{n}{TORN_SUFFIX}").name not in taken
    )
    file = disk.open(path, Open.NEW)
    try:
        file.pwrite(content, 0)
        file.datasync()
    except OSError:
        with suppress(OSError):
            disk.unlink(path)
        raise
    finally:
        file.close()
    disk.sync_directory(directory)
    return path
