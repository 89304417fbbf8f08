"""The blocking half of a journal: writes groups, makes and drops segments. One thread at a time."""

import errno
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import accumulate, takewhile
from pathlib import Path
from typing import Final, Self

from plantgate.sdk.clock import Clock
from plantgate.sdk.errors import GatewayError, Rejected, Unavailable
from plantgate.store.disk import SECTOR, Disk, File, Lock, Open
from plantgate.store.record import (
    HEADER_SIZE,
    MARKER_SIZE,
    RECORD_OVERHEAD,
    START,
    Head,
    Position,
    Record,
    SegmentHeader,
    group_size,
    journal_seed,
    pack_group,
)
from plantgate.store.recovery import Found, recover
from plantgate.store.segment import Damage, Segment, create, no_space

Item = tuple[bytes, int]
"""Payload and weight."""

_RETRY_SECONDS: Final = 1.0


class JournalFailed(GatewayError):
    """The disk gave an error after which nobody knows what is stored. Only opening the journal again can tell.

    A failed sync is never tried twice: the kernel marks the pages clean, and the second try would succeed without them.
    """


class DiskFull(Unavailable):
    """Nothing was written; the same append succeeds once there is room."""


@dataclass(frozen=True, slots=True)
class JournalLimits:
    """Sizes of a journal, in bytes."""

    segment_bytes: int = 16 * 1024 * 1024
    """Size of a segment file: the unit in which disk space is reserved and given back."""
    record_bytes_max: int = 4 * 1024 * 1024
    """Largest payload. A record never spans segments."""
    group_bytes_max: int = 4 * 1024 * 1024
    """Most bytes made durable by one sync."""
    pending_bytes_max: int = 8 * 1024 * 1024
    """Most bytes waiting in memory to be written; beyond it, `append` waits."""
    disk_bytes_max: int | None = None
    """Most bytes all segments may take; beyond it, `append` raises `DiskFull` until something is trimmed."""

    def __post_init__(self) -> None:
        if self.segment_bytes % SECTOR:
            raise ValueError(f"segment_bytes is {self.segment_bytes}, not a multiple of {SECTOR}")
        if self.disk_bytes_max is not None and self.disk_bytes_max < 2 * self.segment_bytes:
            raise ValueError(f"disk_bytes_max is {self.disk_bytes_max}, less than two segments of {self.segment_bytes}")
        if HEADER_SIZE + group_size(self.record_bytes_max, 1) > self.segment_bytes:
            raise ValueError(
                f"a record of {self.record_bytes_max} bytes does not fit a segment of {self.segment_bytes}"
            )


@dataclass(slots=True)
class JournalFigures:
    """What a journal has done since it was opened, for metrics."""

    groups: int = 0
    records: int = 0
    bytes: int = 0
    trimmed: int = 0
    """Segments dropped."""
    sync_seconds: float = 0.0
    """Total; over `groups` it is the mean."""
    sync_seconds_last: float = 0.0
    sync_seconds_most: float = 0.0


@dataclass(frozen=True, slots=True)
class Written:
    """How far a write came; what came before an error is durable."""

    begin: Position
    """Before the first record."""
    time: int
    """Appended at, ns UTC."""
    count: int
    """Records durable."""
    error: GatewayError | None = None

    def records(self, items: Sequence[Item]) -> list[Record]:
        """As they were stored, from what was given."""
        stored = items[: self.count]
        cumulatives = accumulate([weight for _, weight in stored], initial=self.begin.weight)
        next(cumulatives)
        numbers = range(self.begin.sequence, self.begin.sequence + len(stored))
        return [
            Record(sequence, weight, cumulative, self.time, payload)
            for sequence, (payload, weight), cumulative in zip(numbers, stored, cumulatives, strict=True)
        ]


@dataclass(slots=True)
class _Active:
    """The segment being written."""

    segment: Segment
    file: File
    offset: int


@dataclass(slots=True)
class JournalWriter:
    """Appends durably; for use without an event loop, or on the journal's own thread below one."""

    directory: Path
    disk: Disk
    clock: Clock
    limits: JournalLimits
    found: Found
    """What opening found: a torn write, damage."""
    journal: bytes
    """The journal's id."""
    head: Head
    """How far it is durable. Replaced whole, so that another thread may read it: before `segments`."""
    segments: tuple[Segment, ...]
    """Oldest first. Replaced whole, so that another thread may read it."""
    seed: int
    figures: JournalFigures = field(default_factory=JournalFigures)
    failed: str | None = None
    """Why nothing can be appended any more."""
    closed: bool = False
    _lock: Lock | None = None
    _active: _Active | None = None

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        disk: Disk,
        clock: Clock,
        limits: JournalLimits | None = None,
        floor: Position = START,
    ) -> Self:
        """Lock the directory (made if missing) and recover what is in it.

        `floor` is a position known from elsewhere to have been reached. A journal that ends before it has lost records:
        they are reported as damage, and the journal goes on at the floor, so that no sequence is given twice.
        Raises `InUse`, `JournalDamaged`, `OSError`.
        """
        limits = limits or JournalLimits()
        disk.make_directory(directory)
        lock = disk.lock(directory)
        try:
            found = recover(disk, directory)
            journal = found.journal or os.urandom(16)
            end = found.end
            if end.sequence < floor.sequence:
                end = floor
                found = _below_floor(found, directory, floor)
            # Without a place in the last segment (none yet, damage at its end) the first append makes a new one: a full
            # disk must not keep anybody from reading.
            last = found.segments[-1] if found.segments else None
            head = Head(end, found.offset or (last.size if last else HEADER_SIZE))
            writer = cls(directory, disk, clock, limits, found, journal, head, found.segments, journal_seed(journal))
            if last is not None and found.offset is not None:
                writer._active = _Active(last, disk.open(last.path, Open.WRITE), found.offset)
        except BaseException:
            lock.release()
            raise
        writer._lock = lock
        return writer

    def close(self) -> None:
        """Let go of file and directory. What was appended is durable already."""
        self.closed = True
        if self._active is not None:
            self._active.file.close()
            self._active = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @property
    def end(self) -> Position:
        """Behind the last durable record."""
        return self.head.position

    @property
    def begin(self) -> Position:
        """The oldest record kept."""
        return self.segments[0].start if self.segments else self.end

    @property
    def bytes_on_disk(self) -> int:
        """Space taken by segments, reserved space included."""
        return sum(segment.size for segment in self.segments)

    def append_many(self, items: Sequence[Item]) -> int:
        """Durable on return; returns the sequence of the first. All or none, unless they cross a segment's end.

        Raises `Rejected` (a record too large), `DiskFull`, `JournalFailed`.
        """
        self.admit(items)
        written = self.write(items)
        if written.error is not None:
            raise written.error
        return written.begin.sequence

    def admit(self, items: Sequence[Item]) -> int:
        """The bytes these records take. Raises `Rejected` for a payload that no journal of this size can hold."""
        sizes = [len(payload) for payload, _ in items]
        if (largest := max(sizes, default=0)) > (most := self.limits.record_bytes_max):
            raise Rejected(f"{self.directory}: a record of {largest} bytes, where {most} is the most")
        return sum(sizes) + RECORD_OVERHEAD * len(sizes)

    def write(self, items: Sequence[Item]) -> Written:
        """Append in as few groups as they fit in; never raises, so that what is durable is always known."""
        begin, now, done = self.end, self.clock.now(), 0
        while done < len(items):
            if (over := self._over()) is not None:
                return Written(begin, now, done, over)
            try:
                fit = self._fitting(items, done)
                if fit == 0:
                    self._new_segment()
                    continue
                self._write_group(items[done : done + fit], now)
                done += fit
            except GatewayError as error:
                return Written(begin, now, done, error)
            except OSError as error:
                return Written(begin, now, done, self._fail(error))
        return Written(begin, now, done)

    def trim(self, sequence: int) -> int:
        """Drop whole segments that hold nothing at or after `sequence`; returns how many went. Oldest first.

        Raises `JournalFailed`.
        """
        dropped = 0
        if (over := self._over()) is not None:
            raise over
        try:
            while len(self.segments) > 1 and self.segments[1].start.sequence <= sequence:
                gone, *kept = self.segments
                self.segments = tuple(kept)
                self.disk.unlink(gone.path)
                # One by one, so that a crash leaves no hole in the middle.
                self.disk.sync_directory(self.directory)
                self.figures.trimmed += 1
                dropped += 1
        except OSError as error:
            raise self._fail(error) from error
        return dropped

    def _fitting(self, items: Sequence[Item], done: int) -> int:
        """How many of the items fit in the active segment and in one group."""
        active = self._active
        if active is None:
            return 0
        # Both ends of the room are on a sector: what fits unpadded fits padded.
        room = active.segment.size // SECTOR * SECTOR - active.offset - MARKER_SIZE
        sizes = accumulate([len(payload) + RECORD_OVERHEAD for payload, _ in items[done:]])
        ends = list(takewhile(min(room, self.limits.group_bytes_max).__ge__, sizes))
        if ends or done == len(items):
            return len(ends)
        return int(len(items[done][0]) + RECORD_OVERHEAD <= room)  # one larger than a group should be

    def _write_group(self, items: Sequence[Item], appended_at: int) -> None:
        active = self._active
        assert active is not None
        content, end = pack_group(items, self.end, appended_at, self.seed)
        try:
            active.file.pwrite(content, active.offset)
        except OSError as error:
            if not no_space(error):
                raise
            # Reserved space can still run out: on a copy-on-write or thinly provisioned file system.
            self._seal(active)
            raise DiskFull(
                f"{self.directory}: the disk is full; nothing was stored, trying again",
                retry_after_seconds=_RETRY_SECONDS,
            ) from error
        begun = time.perf_counter()
        active.file.datasync()
        self._count(time.perf_counter() - begun, len(items), len(content))
        active.offset += len(content)
        appended = self.head.appended + sum([weight for _, weight in items])
        self.head = Head(end, active.offset, appended)

    def _seal(self, active: _Active) -> None:
        """Cut a half-written group off, durably, before anything else is written anywhere."""
        active.file.truncate(active.offset)
        active.file.datasync()
        active.file.close()
        self._active = None
        sealed = replace(active.segment, size=active.offset)
        self.segments = (*self.segments[:-1], sealed)

    def _new_segment(self) -> None:
        self._refuse_beyond_limit()
        if self._active is not None:
            self._active.file.close()
            self._active = None
        header = SegmentHeader(self.journal, self.end, self.clock.now())
        before = self.segments
        if before and before[-1].start.sequence == self.end.sequence:
            # Sealed, or left half made by a crash, before it had a record; the new one takes its name.
            with suppress(FileNotFoundError):
                self.disk.unlink(before[-1].path)
            before = before[:-1]
        try:
            segment, file = create(self.disk, self.directory, header, self.limits.segment_bytes)
        except OSError as error:
            if no_space(error) or error.errno in (errno.EMFILE, errno.ENFILE):
                reason = error.strerror
                raise DiskFull(
                    f"{self.directory}: no room for another segment ({reason}); nothing was stored, trying again",
                    retry_after_seconds=_RETRY_SECONDS,
                ) from error
            raise
        self.segments = (*before, segment)
        self._active = _Active(segment, file, HEADER_SIZE)
        self.head = self.head._replace(offset=HEADER_SIZE)

    def _refuse_beyond_limit(self) -> None:
        limit, taken = self.limits.disk_bytes_max, self.bytes_on_disk
        if limit is not None and self.segments and taken + self.limits.segment_bytes > limit:
            raise DiskFull(
                f"{self.directory}: holds {taken} bytes and may hold {limit}; nothing was stored, trying again",
                retry_after_seconds=_RETRY_SECONDS,
            )

    def stop(self, reason: str) -> JournalFailed:
        """Nobody knows what is stored: append no more."""
        self.failed = (
            f"{self.directory}: {reason}; what was being written may or may not be stored. "
            "The journal stops here and must be opened again"
        )
        return JournalFailed(self.failed)

    def _over(self) -> GatewayError | None:
        if self.failed is not None:
            return JournalFailed(self.failed)
        return Unavailable(f"{self.directory}: the journal is closed") if self.closed else None

    def _fail(self, error: OSError) -> JournalFailed:
        return self.stop(error.strerror or str(error))

    def _count(self, seconds: float, records: int, size: int) -> None:
        figures = self.figures
        figures.groups += 1
        figures.records += records
        figures.bytes += size
        figures.sync_seconds += seconds
        figures.sync_seconds_last = seconds
        figures.sync_seconds_most = max(figures.sync_seconds_most, seconds)


def _below_floor(found: Found, directory: Path, floor: Position) -> Found:
    """The journal ends before what is known to have been in it: an older copy of the disk, or files taken away."""
    path = found.segments[-1].path if found.segments else directory
    lost = Damage(path, found.offset or 0, found.end, floor)
    return Found(found.journal, found.segments, floor, None, found.torn, (*found.damage, lost))
