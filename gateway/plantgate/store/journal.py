"""An append-only file of records that survives power cuts and notices flipped bits.

`append` returns when the record is on the disk. While one group of records is being synced, whatever is appended joins
the next, so that a sync costs the same for one record as for a thousand and no timer is needed.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self
from weakref import WeakSet

from plantgate.sdk.clock import Clock, SystemClock
from plantgate.sdk.errors import GatewayError, Unavailable
from plantgate.store.disk import Disk, OsDisk
from plantgate.store.reader import JournalWalk, Reader
from plantgate.store.record import START, Head, Position, Record
from plantgate.store.segment import Damage
from plantgate.store.writer import Item, JournalFailed, JournalFigures, JournalLimits, JournalWriter, Written


class _Waiting(NamedTuple):
    """Records that were appended together, and whoever waits for them."""

    items: Sequence[Item]
    size: int
    sequence: "asyncio.Future[int]"


class Journal:
    """A journal on a running loop. One thread writes and syncs, another reads; neither holds the loop.

    Once the disk has failed, everything raises `JournalFailed`: leave the journal and open it again.
    """

    def __init__(self, writer: JournalWriter, writing: ThreadPoolExecutor, reading: ThreadPoolExecutor) -> None:
        self._writer = writer
        self._writing = writing
        self._reading = reading
        self._loop = asyncio.get_running_loop()
        self._pending: deque[_Waiting] = deque()
        self._pending_bytes = 0
        self._waiting = 0
        self._admission = asyncio.Lock()
        self._room = asyncio.Event()
        self._commit: asyncio.Future[Written] | None = None
        self._scheduled = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False
        self._more: set[asyncio.Future[list[Record]]] = set()
        self._readers: WeakSet[Reader] = WeakSet()

    @classmethod
    async def open(
        cls,
        directory: Path,
        *,
        disk: Disk | None = None,
        clock: Clock | None = None,
        limits: JournalLimits | None = None,
        floor: Position = START,
    ) -> Self:
        """Lock and recover a directory; close the journal, or use it as ``async with await Journal.open(…)``.

        What recovery met is in `recovered` and `damage`: report it. `floor` is a position known from elsewhere to have
        been reached (see `JournalWriter.open`). Raises `InUse`, `JournalDamaged`, `OSError`.
        """
        loop = asyncio.get_running_loop()
        writing = ThreadPoolExecutor(1, thread_name_prefix=f"journal-write-{directory.name}")
        reading = ThreadPoolExecutor(1, thread_name_prefix=f"journal-read-{directory.name}")
        disk, clock = disk or OsDisk(), clock or SystemClock()
        opening = partial(JournalWriter.open, directory, disk=disk, clock=clock, limits=limits, floor=floor)
        opened = loop.run_in_executor(writing, opening)
        try:
            await asyncio.wait([opened])
            return cls(opened.result(), writing, reading)
        except asyncio.CancelledError:
            # The thread cannot be stopped; what it opens must not stay open, or the next start finds it in use.
            opened.add_done_callback(lambda done: None if done.exception() else done.result().close())
            writing.shutdown(wait=False)
            raise
        except BaseException:
            writing.shutdown(wait=False)
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def id(self) -> bytes:
        """Random, 16 bytes, for as long as the journal lives."""
        return self._writer.journal

    @property
    def begin(self) -> Position:
        """The oldest record kept."""
        return self._writer.begin

    @property
    def end(self) -> Position:
        """Behind the last durable record; ``end.weight - position.weight`` samples lie between a position and it."""
        return self._writer.end

    @property
    def bytes_on_disk(self) -> int:
        """Space taken, reserved space included."""
        return self._writer.bytes_on_disk

    @property
    def failed(self) -> str | None:
        """Why the disk can no longer be believed; None while it can."""
        return self._writer.failed

    @property
    def pending_bytes(self) -> int:
        """Appended and not yet durable."""
        return self._pending_bytes

    @property
    def recovered(self) -> tuple[str, ...]:
        """What opening met, a sentence each: a write cut off by a crash, damage. For the log."""
        found = self._writer.found
        return (*([str(found.torn)] if found.torn else []), *map(str, found.damage))

    @property
    def damage(self) -> tuple[Damage, ...]:
        """Damage that opening met. Readers meet what they read by themselves; see `verify` for the rest."""
        return self._writer.found.damage

    @property
    def head(self) -> Head:
        """`end`, and the weight appended since opening, of one moment."""
        return self._writer.head

    @property
    def segment_starts(self) -> list[Position]:
        """Where each segment begins: what `trim` can cut at."""
        return [segment.start for segment in self._writer.segments]

    def walk(self) -> JournalWalk:
        """For a thread of the caller's own that reads what is stored."""
        return JournalWalk(self._writer)

    @property
    def figures(self) -> JournalFigures:
        """For metrics. Written by another thread: each figure is right, they may not be of the same moment."""
        return self._writer.figures

    async def append(self, payload: bytes, weight: int = 1) -> int:
        """Durable on return; returns the record's sequence. Waits while too much is waiting to be written.

        Cancelled, the record may be stored or not. Raises `Rejected` (too large for any segment), `DiskFull`
        (an `Unavailable`: nothing was stored), `JournalFailed`, `Unavailable` once the journal is closed.
        """
        return await self.append_many(((payload, weight),))

    async def append_many(self, items: Sequence[Item]) -> int:
        """As `append`, for several (payload, weight) in a row; returns the sequence of the first.

        They share a group, and so are stored all or none, unless they cross the end of a segment or outgrow a group.
        """
        size = self._writer.admit(items)
        limit = self._writer.limits.pending_bytes_max
        if self._waiting or (self._pending_bytes and self._pending_bytes + size > limit):
            self._waiting += 1
            try:
                async with self._admission:  # first come, first served
                    while self._pending_bytes and self._pending_bytes + size > limit:
                        self._room.clear()
                        await self._room.wait()
            finally:
                self._waiting -= 1
        self.refuse_if_over()
        waiting = _Waiting(items, size, self._loop.create_future())
        self._pending.append(waiting)
        self._pending_bytes += size
        self._idle.clear()
        self._schedule()
        return await waiting.sequence

    def reader(self, sequence: int) -> Reader:
        """Gives the records from `sequence` on, and waits for more."""
        reader = Reader(self._writer, sequence, self._reading, self._wait_beyond)
        self._readers.add(reader)
        return reader

    def trim(self, sequence: int) -> "asyncio.Future[int]":
        """Drop whole segments that hold nothing at or after `sequence`; returns how many went.

        Raises `JournalFailed`.
        """
        self.refuse_if_over()
        trimming = self._loop.run_in_executor(self._writing, self._writer.trim, sequence)
        trimming.add_done_callback(self._trimmed)
        return trimming

    async def verify(self) -> list[Damage]:
        """Read every record back; returns all damage. Raises `OSError`."""
        walk = JournalWalk(self._writer)
        try:
            return await self._loop.run_in_executor(self._reading, walk.verify)
        finally:
            await self._loop.run_in_executor(self._reading, walk.close)

    # Group commit: no task of its own; the end of one commit starts the next.

    def _schedule(self) -> None:
        """Commit soon: after everything that is ready now has appended too."""
        if self._commit is None and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._start)

    def _start(self) -> None:
        self._scheduled = False
        group: list[_Waiting] = []
        size = 0
        while self._pending and (not group or size + self._pending[0].size <= self._writer.limits.group_bytes_max):
            waiting = self._pending.popleft()
            if waiting.sequence.cancelled():
                self._leave(waiting)
                continue
            group.append(waiting)
            size += waiting.size
        if not group:
            self._rest()
            return
        items = [item for waiting in group for item in waiting.items]
        self._commit = self._loop.run_in_executor(self._writing, self._writer.write, items)
        self._commit.add_done_callback(partial(self._committed, group, items))

    def _committed(self, group: list[_Waiting], items: list[Item], commit: "asyncio.Future[Written]") -> None:
        self._commit = None
        for waiting in group:
            self._leave(waiting)
        if commit.cancelled():
            for waiting in group:
                waiting.sequence.cancel()
        elif (bug := commit.exception()) is not None:
            self._writer.stop(repr(bug))
            for waiting in group:
                _tell(waiting, bug)
        else:
            written = commit.result()
            sequence = written.begin.sequence
            for waiting in group:
                stored = sequence + len(waiting.items) <= written.begin.sequence + written.count
                _tell(waiting, sequence if stored or written.error is None else written.error)
                sequence += len(waiting.items)
            if self._more and written.count:
                self._hand_over(written.records(items))
        if self._writer.failed is not None:
            self._fail_pending(JournalFailed(self._writer.failed))
            self._wake_readers()
        self._rest()

    def _trimmed(self, trimming: "asyncio.Future[int]") -> None:
        """Heard even if nobody awaits it. Whatever a trim stumbled over, the journal must not go on."""
        error = None if trimming.cancelled() else trimming.exception()
        if error is not None and self._writer.failed is None:
            self._writer.stop(repr(error))

    def _leave(self, waiting: _Waiting) -> None:
        self._pending_bytes -= waiting.size
        self._room.set()

    def _rest(self) -> None:
        if self._pending:
            self._schedule()
        elif self._commit is None:
            self._idle.set()

    def _fail_pending(self, error: GatewayError) -> None:
        while self._pending:
            waiting = self._pending.popleft()
            self._leave(waiting)
            _tell(waiting, error)

    # Readers that have caught up.

    async def _wait_beyond(self, sequence: int) -> list[Record]:
        """Until there is a durable record at `sequence`: that one and what was stored with it, if still at hand."""
        while self.end.sequence <= sequence:
            self.refuse_if_over()
            news: asyncio.Future[list[Record]] = self._loop.create_future()
            self._more.add(news)
            try:
                records = await news
            finally:
                self._more.discard(news)
            if records and records[0].sequence == sequence:
                return records
        return []

    def _hand_over(self, records: list[Record]) -> None:
        """A reader that waits need not read from the file what was written to it just now."""
        for news in self._more:
            if not news.done():
                news.set_result(records)

    def _wake_readers(self) -> None:
        self._hand_over([])

    # The end.

    def refuse_if_over(self) -> None:
        """Raises `JournalFailed` or, once closed, `Unavailable`."""
        if self._writer.failed is not None:
            raise JournalFailed(self._writer.failed)
        if self._closed:
            raise Unavailable(f"{self._writer.directory}: the journal is closed")

    async def close(self) -> None:
        """What was appended before is still stored; waiting readers are told. Harmless if closed."""
        if self._closed:
            return
        self._closed = True
        self._wake_readers()
        try:
            await self._idle.wait()
        finally:
            # Asked for even if we are cancelled: the directory must be free for whoever opens it next.
            closing = [self._loop.run_in_executor(self._writing, self._writer.close)]
            closing += [self._loop.run_in_executor(self._reading, reader.walk.close) for reader in self._readers]
            self._writing.shutdown(wait=False)
            self._reading.shutdown(wait=False)
            await asyncio.wait(closing)


def _tell(waiting: _Waiting, outcome: int | BaseException) -> None:
    if waiting.sequence.done():
        return
    if isinstance(outcome, BaseException):
        waiting.sequence.set_exception(copy(outcome))  # each its own: a traceback grows with every raise
    else:
        waiting.sequence.set_result(outcome)
