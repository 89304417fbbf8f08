"""The audit log of a gateway: entries are durable when `append` returns, and public soon after.

Two journals: the entries, and the checkpoints that were signed last. What is public can be made again from them.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, Self, TypeVar

from msgspec.structs import replace

from plantgate.audit.checkpoint import Checkpoint
from plantgate.audit.entry import Entry, decode, encode
from plantgate.audit.note import Note, Signer
from plantgate.audit.publish import Inconsistent, Publisher
from plantgate.audit.recover import KeyMissing as KeyMissing
from plantgate.audit.recover import Keys, read_from, recover
from plantgate.audit.recover import LogDamaged as LogDamaged
from plantgate.audit.reserve import Reserve
from plantgate.audit.tail import Tail
from plantgate.audit.tiles import ENTRY_BYTES_MAX, WIDTH, Tiles
from plantgate.audit.tree import Frontier, Node
from plantgate.sdk.clock import Clock, SystemClock
from plantgate.sdk.errors import Rejected
from plantgate.store.disk import Disk, OsDisk
from plantgate.store.journal import Journal
from plantgate.store.writer import DiskFull, JournalFailed, JournalLimits

T = TypeVar("T")

_SIGNED_KEPT: Final = 16
"""Checkpoints, at least. Only the newest binds us; what was before it goes, a segment at a time."""
_LIMITS: Final = JournalLimits(segment_bytes=4 * 2**20, record_bytes_max=ENTRY_BYTES_MAX)


class AuditLog:
    """Open it with `AuditLog.open`; close it, or use ``async with await AuditLog.open(…) as log``."""

    def __init__(
        self, entries: Journal, signed: Journal, publisher: Publisher, frontier: Frontier, reserve: Reserve
    ) -> None:
        self._entries = entries
        self._signed = signed
        self._publisher = publisher
        self._reserve = reserve
        self._tail = Tail(entries, frontier)
        self._publishing = asyncio.Lock()
        self._backfilling = asyncio.Lock()
        self._closed = False
        self._contradicted = ""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit-publish")
        self._walk = entries.walk()
        self.recovered: tuple[str, ...] = (*entries.recovered, *signed.recovered, *reserve.recovered)
        """What opening met, a sentence each: writes cut off by a crash."""

    @classmethod
    async def open(
        cls,
        folder: Path,
        origin: str,
        signers: Sequence[Signer],
        *,
        disk: Disk | None = None,
        clock: Clock | None = None,
        limits: JournalLimits = _LIMITS,
        hear: Callable[[bytes], None] = lambda content: None,
    ) -> Self:
        """Recover and check; a folder that is not there is made. `origin` is the log's name for good.

        `hear` is told, in another thread, of every entry that is not archived, and last of what stands in the reserve;
        what it raises comes from here.

        Raises `LogDamaged` where the entries are not those that were signed (an older copy of the disk, a flipped bit,
        somebody's hand), `Inconsistent` where the public files are not, `KeyMissing` where a key that signs
        after a hand-over, or for an overlap still, is not among the signers; `InUse`, `JournalDamaged`, `OSError`.
        """
        disk, clock = disk or OsDisk(), clock or SystemClock()
        entries = await Journal.open(folder / "entries", disk=disk, clock=clock, limits=limits)
        try:
            signed = await Journal.open(folder / "signed", disk=disk, clock=clock, limits=limits)
        except BaseException:
            await entries.close()
            raise
        try:
            publisher = Publisher(folder / "public", origin, signers, disk)
            keys = Keys()
            reserve = await asyncio.to_thread(Reserve.open, folder / "reserve", disk)
            late, forms = dict.fromkeys(reserve.waiting()), _forms(reserve.waiting())

            def hear_once(content: bytes) -> None:
                late.pop(forms.get(content, content), None)  # a crash came before it was taken out of the reserve
                hear(content)

            frontier = await asyncio.to_thread(recover, entries, signed, publisher, origin, keys, hear_once)
            for content in late:
                hear(content)
            last = publisher.last
            signed_all = last is not None and last.size == frontier.size
            keys.must_be_among(signers, frontier.size + signed_all)
            return cls(entries, signed, publisher, frontier, reserve)
        except BaseException:
            await entries.close()
            await signed.close()
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def size(self) -> int:
        """How many entries are durable."""
        return self._tail.frontier.size

    @property
    def origin(self) -> str:
        """Its name."""
        return self._publisher.origin

    @property
    def published(self) -> Checkpoint | None:
        """What was signed last."""
        return self._publisher.last

    async def append(self, entry: Entry) -> int:
        """Durable on return; the entry's index. Raises `Rejected`, `DiskFull`, `JournalFailed`, `Inconsistent`."""
        return await self.append_bytes(encode(entry))

    async def append_bytes(self, content: bytes) -> int:
        """As `append`, for bytes that are canonical already.

        Whoever is cancelled while it waits has appended all the same, or has not.
        """
        if len(content) > ENTRY_BYTES_MAX:
            raise Rejected(f"an entry of {len(content)} bytes; {ENTRY_BYTES_MAX} are the most")
        if self._contradicted:
            raise Inconsistent(self._contradicted)
        return await self._tail.append(content)

    async def append_in_emergency(self, entry: Entry) -> int | None:
        """For what a person does by hand to avert harm, and nothing else: durable on return, also on a full disk.

        The index; None where it stands in the reserve and goes into the log later, marked so (`backfill`).
        Raises `Rejected`; `ReserveFull`, where even that is full.
        """
        content = encode(entry)
        if not self.waiting:  # or it would stand before them: an outcome before its intent
            with suppress(DiskFull, JournalFailed, Inconsistent):
                return await self.append_bytes(content)
        late = encode(replace(entry, late=True))
        await self._blocking(partial(self._reserve.keep, late))
        return None

    @property
    def waiting(self) -> int:
        """Entries that stand in the reserve and not in the log."""
        return len(self._reserve)

    async def backfill(self) -> int:
        """Take into the log what stands in the reserve, each once also across crashes; how many there were.

        Raises what `append` does: what is not in the log yet stays in the reserve.
        """
        async with self._backfilling:
            waiting = await self._blocking(self._reserve.waiting)
            if not waiting:
                return 0
            there, forms = set[bytes](), _forms(waiting)
            await self.inspect(lambda _, content: there.add(forms[content]) if content in forms else None)
            for content in waiting:
                if content not in there:  # a crash came before it was taken out of the reserve
                    await self.append_bytes(content)
            await self._blocking(partial(self._reserve.clear, waiting))
            return len(waiting)

    async def reached(self, size: int) -> None:
        """Wait until so many entries are durable."""
        await self._tail.reached(size)

    async def publish(self) -> Note | None:
        """Publish everything durable; the signed checkpoint, or None where there is nothing new.

        Raises `Inconsistent`: from then on nothing is signed until a person has looked; `OSError`.
        """
        async with self._publishing:
            size, root = self.size, self._tail.frontier.root()
            note = await self._blocking(partial(self._publisher.prepare, size, root, self._stored))
            if note is not None:
                await self._signed.append(bytes(note))
                await self._blocking(partial(self._publisher.release, note))
                await self._signed.trim(self._signed.end.sequence - _SIGNED_KEPT)
            return note

    async def heed(self, note: Note) -> None:
        """What a witness has of this log. Raises `Inconsistent` where that proves that this is not the only one.

        We have signed it, and it is not our past: this is an older copy, or there is a second log. From then on nothing
        is signed, and nothing is taken in but into the reserve, until a person has looked.
        """
        async with self._publishing:
            try:
                await self._blocking(partial(self._publisher.heed, note))
            except Inconsistent as error:
                self._contradicted = str(error)
                raise

    async def witnessed(self, note: Note) -> bool:
        """Add signatures to the public checkpoint; False where a newer one has taken its place meanwhile."""
        async with self._publishing:
            if self.published is None or Checkpoint.parse(note.text) != self.published:
                return False
            await self._blocking(partial(self._publisher.release, note))
            return True

    def entries(self, index: int = 0) -> Iterator[bytes]:
        """Every durable entry from there on, in order, without those in the archive.

        Blocking: for a thread of the caller's own.
        """
        walk = self._entries.walk()
        try:
            for record in read_from(walk, max(index, self._entries.begin.sequence)):
                yield record.payload
        finally:
            walk.close()

    async def inspect(self, take: Callable[[int, bytes], None]) -> None:
        """Give every durable entry that is kept here, with its index, as it is read back from the disk.

        `take` runs in another thread. Raises `Corrupt`, `OSError`.
        """

        def all_of_them() -> None:
            for index, content in enumerate(self.entries(), self._entries.begin.sequence):
                take(index, content)

        await asyncio.to_thread(all_of_them)

    def read(self, path: str) -> bytes:
        """A published file. Blocking; raises `OSError`."""
        return self._publisher.read(path)

    async def drop(self, begin: int, end: int) -> None:
        """Let go of entries that are archived, at multiples of 256: the public files, and here. Harmless if gone.

        Raises `JournalFailed`, `OSError`.
        """
        async with self._publishing:
            await self._blocking(partial(self._publisher.drop, begin // WIDTH, end // WIDTH))
            await self._entries.trim(end)

    def node(self, size: int) -> Node:
        """The hashes of the published log, for proofs. Blocking; raises `Unreadable`."""
        return Tiles(self._publisher.read, size).node

    async def close(self) -> None:
        """Everything appended is durable; what is not public yet will be after the next start. Harmless if closed."""
        await self._tail.rest()
        async with self._publishing:
            if self._closed:
                return
            self._closed = True
            await self._blocking(self._walk.close)
            await self._blocking(self._reserve.close)
            self._thread.shutdown(wait=False)
            try:
                await self._entries.close()
            finally:
                await self._signed.close()

    async def _blocking(self, work: Callable[[], T]) -> T:
        """On the one thread that publishes. What it has begun it ends, also where nobody waits for it any more."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _stored(self, index: int) -> Iterator[bytes]:
        for record in read_from(self._walk, index):
            yield record.payload


def _forms(waiting: Sequence[bytes]) -> dict[bytes, bytes]:
    """What waits, by how it may stand in the log: late, or as it was when a sync failed that had stored it."""
    as_it_was = {encode(replace(decode(content), late=False)): content for content in waiting}
    return {**as_it_was, **{content: content for content in waiting}}
