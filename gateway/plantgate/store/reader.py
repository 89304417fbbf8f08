"""Reading a journal from any record on, across segments, while it is being written."""

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import Protocol

from plantgate.sdk.errors import GatewayError, Unavailable
from plantgate.store.disk import Disk, Open
from plantgate.store.record import Head, Record
from plantgate.store.segment import Damage, Segment, SegmentWalk


class Corrupt(GatewayError):
    """Stored records no longer read back. Nothing is skipped unless you say so: `Reader.skip`."""

    def __init__(self, damage: Damage) -> None:
        super().__init__(str(damage))
        self.damage = damage


class Trimmed(GatewayError):
    """The record asked for has been dropped from the journal."""

    def __init__(self, sequence: int, begin: int) -> None:
        super().__init__(f"record {sequence} is no longer kept; the oldest one is {begin}")
        self.begin = begin


class Stored(Protocol):
    """What a walk needs to know of a journal that another thread writes."""

    disk: Disk
    seed: int
    head: Head
    """Read it before `segments`: a segment is there before its records are."""
    segments: tuple[Segment, ...]


class JournalWalk:
    """The blocking half of a reader: one thread at a time."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        self._walk: SegmentWalk | None = None
        self._damage: Damage | None = None
        self._known: tuple[Segment, ...] = ()
        self._known_of: Segment | None = None
        self._following: Segment | None = None
        self._same: Segment | None = None

    def close(self) -> None:
        """Close the file; the walk can be used again."""
        if self._walk is not None:
            self._walk.close()
            self._walk = None

    def read(self, sequence: int, bytes_max: int) -> list[Record] | Damage:
        """Records from `sequence` on, at least one if there is any, and no more once they hold `bytes_max` bytes.

        Damage where the next record should be is returned alone. Raises `Trimmed`, `OSError`.
        """
        if self._damage is not None:
            damage, self._damage = self._damage, None
            if damage.first == sequence:
                return damage
        records: list[Record] = []
        size = 0
        while size < bytes_max:
            item = self._next(sequence)
            if isinstance(item, Damage):
                if not records:
                    return item
                self._damage = item
                break
            if item is None:
                break
            records.append(item)
            size += len(item.payload)
            sequence = item.sequence + 1
        return records

    def verify(self) -> list[Damage]:
        """Read everything; returns all damage."""
        found: list[Damage] = []
        if not self._stored.segments:
            return found
        sequence = self._stored.segments[0].start.sequence
        while (item := self._next(sequence)) is not None:
            if isinstance(item, Damage):
                found.append(item)
                sequence = item.after
            else:
                sequence = item.sequence + 1
        return found

    def _next(self, sequence: int) -> Record | Damage | None:
        head = self._stored.head
        segments = self._stored.segments
        while True:
            if self._walk is None or self._walk.position.sequence != sequence:
                if sequence >= head.position.sequence:
                    return None
                damage = self._seek(sequence, segments, head)
                if damage is not None:
                    return damage
            walk = self._walk
            assert walk is not None
            following = self._after(walk.segment, segments)
            if self._same not in (None, walk.segment):
                self.close()  # an empty segment was made anew under the same name
                continue
            stop, durable = (head.position, head.offset) if following is None else (following.start, None)
            item = walk.step(stop, durable)
            if item is not None or following is None:
                return item
            self._open(following)

    def _after(self, segment: Segment, segments: tuple[Segment, ...]) -> Segment | None:
        """The segment behind one. Remembered: it is asked for at every record and changes with the segments only."""
        if self._known is not segments or self._known_of is not segment:
            index = bisect_right(segments, segment.start.sequence, key=_first)
            self._known, self._known_of = segments, segment
            self._following = segments[index] if index < len(segments) else None
            self._same = segments[index - 1] if index else None
        return self._following

    def _seek(self, sequence: int, segments: tuple[Segment, ...], head: Head) -> Damage | None:
        """Walk to a record. Damage that holds it is returned; damage before it is somebody else's business."""
        if sequence < segments[0].start.sequence:
            raise Trimmed(sequence, segments[0].start.sequence)
        segment = segments[bisect_right(segments, sequence, key=_first) - 1]
        walk = self._walk
        if walk is None or walk.segment is not segment or walk.position.sequence > sequence:
            walk = self._open(segment)
        following = self._after(segment, segments)
        stop, durable = (head.position, head.offset) if following is None else (following.start, None)
        while walk.position.sequence < sequence:
            item = walk.step(stop, durable)
            if isinstance(item, Damage) and item.after > sequence:
                return item
        return None

    def _open(self, segment: Segment) -> SegmentWalk:
        self.close()
        try:
            file = self._stored.disk.open(segment.path, Open.READ)
        except FileNotFoundError:
            begin = self._stored.segments[0].start.sequence
            if segment.start.sequence >= begin:
                raise
            raise Trimmed(segment.start.sequence, begin) from None
        self._walk = SegmentWalk(file, segment, self._stored.seed)
        return self._walk


def _heard(fetching: "asyncio.Future[tuple[int, list[Record] | Damage]]") -> None:
    """A reader that was given up does not come back for its error."""
    if not fetching.cancelled():
        fetching.exception()


def _first(segment: Segment) -> int:
    return segment.start.sequence


class Reader:
    """Gives durable records in order, and waits for more. One task at a time.

    Cancelling a read loses nothing. Damage is raised as `Corrupt`, again and again, until it is skipped.
    """

    def __init__(
        self, stored: Stored, sequence: int, executor: Executor, more: Callable[[int], Awaitable[list[Record]]]
    ) -> None:
        self.sequence = sequence
        """The record the next read begins with. May be set, to read from elsewhere."""
        self._stored = stored
        self.walk = JournalWalk(stored)
        """The blocking half; for the journal, which closes it."""
        self._executor = executor
        self._more = more
        self._fetching: asyncio.Future[tuple[int, list[Record] | Damage]] | None = None
        self._damage: Damage | None = None

    async def read(self, bytes_max: int = 1024 * 1024) -> list[Record]:
        """At least one record, and no more once they hold `bytes_max` bytes of payload; or all of one commit.

        Raises `Corrupt`, `Trimmed`, `JournalFailed`, and `Unavailable` when the journal is closed or cannot be read.
        """
        while True:
            if self._damage is not None and self._damage.holds(self.sequence):
                raise Corrupt(self._damage)
            self._damage = None
            if self._fetching is None:
                if self.sequence >= self._stored.head.position.sequence:
                    records = await self._more(self.sequence)
                    if not records:
                        continue
                    self.sequence = records[-1].sequence + 1
                    return records
                loop = asyncio.get_running_loop()
                self._fetching = loop.run_in_executor(self._executor, self._fetch, self.sequence, bytes_max)
                self._fetching.add_done_callback(_heard)
            # Not awaited directly: a cancelled read must leave the walk running and find its result the next time.
            await asyncio.wait([self._fetching])
            fetched, self._fetching = self._fetching, None
            try:
                sequence, found = fetched.result()
            except OSError as error:
                raise Unavailable(f"stored records cannot be read: {error}; trying again") from error
            if sequence != self.sequence:
                continue
            if isinstance(found, Damage):
                self._damage = found
            elif found:
                self.sequence = found[-1].sequence + 1
                return found

    def skip(self, damage: Damage) -> None:
        """Go on behind it. What it cost is in `damage`; say so to whoever waits for those records."""
        self._damage = None
        self.sequence = damage.after

    def close(self) -> "asyncio.Future[None]":
        """Close the file, soon or when awaited."""
        return asyncio.get_running_loop().run_in_executor(self._executor, self.walk.close)

    def _fetch(self, sequence: int, bytes_max: int) -> tuple[int, list[Record] | Damage]:
        return sequence, self.walk.read(sequence, bytes_max)
