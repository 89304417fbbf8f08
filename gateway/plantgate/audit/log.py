"""The audit log of a gateway: entries are durable when `append` returns, and public soon after.

Two journals: the entries, and every checkpoint that was ever signed. What is public can be made again from them.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, Self, TypeVar

from plantgate.audit.checkpoint import Checkpoint
from plantgate.audit.entry import Entry, encode
from plantgate.audit.note import BadNote, Note, Signer
from plantgate.audit.publish import Publisher
from plantgate.audit.tiles import Tiles
from plantgate.audit.tree import Frontier, Node, leaf_hash
from plantgate.sdk.clock import Clock, SystemClock
from plantgate.sdk.errors import GatewayError
from plantgate.store.disk import Disk, OsDisk
from plantgate.store.journal import Journal
from plantgate.store.reader import Corrupt, JournalWalk
from plantgate.store.record import Record
from plantgate.store.segment import Damage
from plantgate.store.writer import JournalLimits

T = TypeVar("T")

_READ_BYTES: Final = 2**20
_LIMITS: Final = JournalLimits(segment_bytes=4 * 2**20, record_bytes_max=64 * 1024)


class LogDamaged(GatewayError):
    """The log holds less than was signed, or something else: it is not opened, and nothing is written into it."""


class AuditLog:
    """Open it with `AuditLog.open`; close it, or use ``async with await AuditLog.open(…) as log``."""

    def __init__(self, entries: Journal, signed: Journal, publisher: Publisher, frontier: Frontier) -> None:
        self._entries = entries
        self._signed = signed
        self._publisher = publisher
        self._frontier = frontier
        """Of what was acknowledged, hashed as it came."""
        self._appending: set[asyncio.Task[int]] = set()
        self._publishing = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit-publish")
        self._walk = entries.walk()
        self.recovered: tuple[str, ...] = (*entries.recovered, *signed.recovered)
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
    ) -> Self:
        """Recover and check; a folder that is not there is made. `origin` is the log's name for good.

        Raises `LogDamaged` where the entries are not those that were signed (an older copy of the disk, a flipped bit,
        somebody's hand), `Inconsistent` where the public files are not; `InUse`, `JournalDamaged`, `OSError`.
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
            frontier = await asyncio.to_thread(_recover, entries, signed, publisher, origin)
            return cls(entries, signed, publisher, frontier)
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
        return self._frontier.size

    @property
    def published(self) -> Checkpoint | None:
        """What was signed last."""
        return self._publisher.last

    async def append(self, entry: Entry) -> int:
        """Durable on return; the entry's index. Raises `Rejected`, `DiskFull`, `JournalFailed`."""
        return await self.append_bytes(encode(entry))

    async def append_bytes(self, content: bytes) -> int:
        """As `append`, for bytes that are canonical already."""
        appending = asyncio.create_task(self._append(content))
        self._appending.add(appending)
        appending.add_done_callback(self._appending.discard)
        return await asyncio.shield(appending)  # cancelled half way, nobody would know whether it is in the tree

    async def publish(self) -> Note | None:
        """Publish everything durable; the signed checkpoint, or None where there is nothing new.

        Raises `Inconsistent`: from then on nothing is signed until a person has looked; `OSError`.
        """
        async with self._publishing:
            size, root = self._frontier.size, self._frontier.root()
            note = await self._blocking(partial(self._publisher.prepare, size, root, self._stored))
            if note is not None:
                await self._signed.append(bytes(note))
                await self._blocking(partial(self._publisher.release, note))
            return note

    async def witnessed(self, note: Note) -> bool:
        """Add signatures to the public checkpoint; False where a newer one has taken its place meanwhile."""
        async with self._publishing:
            if self.published is None or Checkpoint.parse(note.text) != self.published:
                return False
            await self._blocking(partial(self._publisher.release, note))
            return True

    def node(self, size: int) -> Node:
        """The hashes of the published log, for proofs. Blocking; raises `Unreadable`."""
        return Tiles(self._publisher.read, size).node

    async def close(self) -> None:
        """Everything appended is durable; what is not public yet will be after the next start. Harmless if closed."""
        if self._appending:
            await asyncio.wait(self._appending)
        async with self._publishing:
            await self._blocking(self._walk.close)
            self._thread.shutdown(wait=False)
            try:
                await self._entries.close()
            finally:
                await self._signed.close()

    async def _append(self, content: bytes) -> int:
        index = await self._entries.append(content)
        assert index == self._frontier.size, "acknowledged out of order"
        self._frontier.append(leaf_hash(content))
        return index

    async def _blocking(self, work: Callable[[], T]) -> T:
        """On the one thread that publishes. What it has begun it ends, also where nobody waits for it any more."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _stored(self, index: int) -> Iterator[bytes]:
        for record in _read(self._walk, index):
            yield record.payload


def _recover(entries: Journal, signed: Journal, publisher: Publisher, origin: str) -> Frontier:
    """The right edge of the tree, of entries that are those which were signed, and what came after."""
    note = last = None
    for record in _read(signed.walk(), 0):
        try:
            note = Note.parse(record.payload)
            last = Checkpoint.parse(note.text)
        except BadNote as error:
            raise LogDamaged(f"signed checkpoint {record.sequence}: {error}") from None
    if last is not None and last.origin != origin:
        raise LogDamaged(f"this is the log {last.origin}, not {origin}; a new name is a new log, in a new folder")
    if last is not None and entries.end.sequence < last.size:
        raise LogDamaged(
            f"{entries.end.sequence} entries are here where {last.size} were signed: an older copy of the disk, or "
            "records taken away; nothing is appended, since that would be a second history"
        )
    frontier = Frontier()
    for record in _read(entries.walk(), 0):
        if last is not None and frontier.size == last.size:
            _same(frontier, last)
        frontier.append(leaf_hash(record.payload))
    if last is not None and frontier.size == last.size:
        _same(frontier, last)
    publisher.resume(note)
    return frontier


def _same(frontier: Frontier, last: Checkpoint) -> None:
    if frontier.root() != last.root:
        raise LogDamaged(f"the first {last.size} entries are not those that were signed: their root is another")


def _read(walk: JournalWalk, sequence: int) -> Iterator[Record]:
    while True:
        found = walk.read(sequence, _READ_BYTES)
        if isinstance(found, Damage):
            raise Corrupt(found)
        if not found:
            return
        yield from found
        sequence = found[-1].sequence + 1
