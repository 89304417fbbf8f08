"""The durable queue between a flow's two halves: an `Accept` on one side, a `Source` per destination on the other.

A batch is stored once, however many destinations there are; each has a cursor of its own. For each of them, always:

    accepted = delivered + queued + dropped

Each of the four is counted where it happens: accepted by what was appended, queued by the weights stored with the
records, delivered by the batches confirmed, dropped by the samples found in what was dropped. Every dropped sample is
also named to the destination, in a gap before the next data; gaps and counters survive a restart.
"""

import asyncio
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from plantgate.sdk.clock import Clock, SystemClock
from plantgate.sdk.errors import Rejected, Unavailable
from plantgate.sdk.sample import Batch
from plantgate.store.codec import encode, halves
from plantgate.store.delivery import Delivery
from plantgate.store.destination import Destination
from plantgate.store.disk import Disk, Lock, OsDisk
from plantgate.store.journal import Journal
from plantgate.store.keeper import Keeper
from plantgate.store.limits import Join, Limits
from plantgate.store.restore import Restored, begin_destination, fit, restore
from plantgate.store.room import Room
from plantgate.store.writer import DiskFull, Item, JournalFailed


class OutboxFull(Unavailable):
    """There is no room, and the limits say to wait; nothing was stored."""


@dataclass(frozen=True, slots=True)
class Balance:
    """The loss balance towards one destination, in samples, since it joined."""

    accepted: int
    delivered: int
    queued: int
    dropped: int
    behind_seconds: float
    """Age of the oldest batch that is not confirmed."""

    @property
    def difference(self) -> int:
        """Must be 0."""
        return self.accepted - self.delivered - self.queued - self.dropped


class Outbox:
    """Open it with `Outbox.open`; close it, or use ``async with await Outbox.open(…) as outbox``."""

    def __init__(
        self, directory: Path, limits: Limits, disk: Disk, clock: Clock, keeping: ThreadPoolExecutor, lock: Lock
    ) -> None:
        self._directory = directory
        self._limits = limits
        self._disk = disk
        self._clock = clock
        self._keeping = keeping
        self._lock = lock
        self._loop = asyncio.get_running_loop()
        self._journal: Journal
        self._accepted_before_opening = 0
        self._all: dict[str, Destination] = {}
        self._claimed: list[str] = []
        self._deliveries: dict[str, Delivery] = {}
        self._keeper: Keeper
        self._room: Room
        self._closed = False
        self.recovered: tuple[str, ...] = ()
        """What opening met, a sentence each, for the log: writes cut off by a crash, damage, lost cursors."""

    @classmethod
    async def open(
        cls,
        directory: Path,
        destinations: Iterable[str],
        *,
        limits: Limits | None = None,
        join: Join = Join.TAIL,
        disk: Disk | None = None,
        clock: Clock | None = None,
    ) -> Self:
        """Lock, recover and serve an outbox; a directory that is not there is made.

        Destinations that are not known yet join as told. Known ones that are not named stay, and hold what they have
        not confirmed, until they are released: see `unclaimed`.
        Raises `InUse`, `JournalDamaged`, `DiskFull`, `OSError`.
        """
        loop = asyncio.get_running_loop()
        keeping = ThreadPoolExecutor(1, thread_name_prefix=f"outbox-{directory.name}")
        disk, clock, limits = disk or OsDisk(), clock or SystemClock(), limits or Limits()
        restoring = loop.run_in_executor(keeping, restore, disk, directory)
        try:
            await asyncio.wait([restoring])
            restored = restoring.result()
        except asyncio.CancelledError:
            restoring.add_done_callback(lambda done: None if done.exception() else done.result().lock.release())
            keeping.shutdown(wait=False)
            raise
        except BaseException:
            keeping.shutdown(wait=False)
            raise
        outbox = cls(directory, limits, disk, clock, keeping, restored.lock)
        try:
            await outbox._begin(restored, list(destinations), join)
        except BaseException:
            loop.run_in_executor(keeping, restored.lock.release)
            keeping.shutdown(wait=False)
            raise
        return outbox

    async def _begin(self, restored: Restored, claimed: list[str], join: Join) -> None:
        self._journal = await Journal.open(
            self._directory / "journal",
            disk=self._disk,
            clock=self._clock,
            limits=self._limits.journal,
            floor=restored.floor,
        )
        try:
            self._accepted_before_opening = self._journal.end.weight
            self._keeper = Keeper(self._journal, self._all, self._keeping)
            self._room = Room(self._journal, self._all, self._keeper, self._limits, self._clock, self._keeping)
            self.recovered = (*restored.sentences, *self._journal.recovered)
            for destination in restored.destinations.values():
                await self._take_in(destination)
            for name in restored.lost:
                await self._begin_destination(name, Join.OLDEST)
            for name in claimed:
                await self.add(name, join)
            await self._keeper.now()
        except BaseException:
            await self._journal.close()
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # The one side.

    async def accept(self, batch: Batch) -> None:
        """Safe on the disk on return. An `Accept`.

        Raises `Unavailable` while there is no room, `Rejected` for a value that cannot be stored, and `JournalFailed`
        once the disk has failed: close the outbox and open it again.
        """
        self.refuse_if_over()
        items = self._items(batch) if batch.tags or batch.gaps else []
        if not items:
            return
        await self._room.look_at_ages()
        while True:
            trimmed = self._journal.figures.trimmed
            try:
                await self._journal.append_many(items)
                break
            except DiskFull as error:
                if not await self._room.make(trimmed):
                    raise self._full(error) from error
        for destination in self._all.values():
            if destination.oldest is None and destination.queued(self._journal.end):
                destination.oldest = self._clock.now()

    # The other side.

    def reader(self, name: str) -> Delivery:
        """A `Source` for a destination: one session. It begins with what the last session did not confirm, and ends it.

        Raises `KeyError` for a name that is not a destination.
        """
        destination = self._all[name]
        if name in self._deliveries:
            self._deliveries[name].end()
        reader = self._journal.reader(destination.position.sequence)
        delivery = Delivery(self, destination, reader, samples_max=self._limits.batch_samples_max)
        self._deliveries[name] = delivery
        return delivery

    async def add(self, name: str, join: Join = Join.TAIL) -> None:
        """Claim a destination; if it is new, it begins as told."""
        if name not in self._all:
            await self._begin_destination(name, join)
        if name not in self._claimed:
            self._claimed.append(name)

    async def release(self, name: str) -> None:
        """A destination is gone for good: what only it still waited for is given up, without a count or a gap."""
        destination = self._all.pop(name)
        destination.session += 1
        if name in self._deliveries:
            self._deliveries.pop(name).end()
        if name in self._claimed:
            self._claimed.remove(name)
        await self._loop.run_in_executor(self._keeping, destination.file.remove)
        await self._keeper.now()

    @property
    def unclaimed(self) -> tuple[str, ...]:
        """Destinations that hold their place in the outbox though nobody named them when it was opened."""
        return tuple(name for name in self._all if name not in self._claimed)

    # What it holds.

    def balance(self) -> Mapping[str, Balance]:
        """For each destination claimed."""
        head, now = self._journal.head, self._clock.now()
        accepted = self._accepted_before_opening + head.appended
        return {
            name: Balance(
                accepted - destination.joined,
                destination.delivered,
                destination.queued(head.position),
                destination.dropped,
                max(0, now - destination.oldest) / 1e9 if destination.oldest is not None else 0.0,
            )
            for name in self._claimed
            for destination in (self._all[name],)
        }

    @property
    def bytes(self) -> int:
        """Disk taken by the queue, reserved space included."""
        return self._journal.bytes_on_disk

    @property
    def bytes_max(self) -> int:
        """Disk it may take."""
        return self._limits.bytes_max

    @property
    def journal(self) -> Journal:
        """Where the records are: its figures, and `Journal.verify`."""
        return self._journal

    @property
    def origin(self) -> str:
        """Names the outbox in the batches it gives; another outbox never has the same."""
        return f"{self._directory.name}-{self._journal.id.hex()[:12]}"

    async def close(self) -> None:
        """Everything confirmed is durable on return. Harmless if closed."""
        if self._closed:
            return
        self._closed = True
        for delivery in self._deliveries.values():
            delivery.end()
        try:
            if self._keeper.failed is None:
                await self._keeper.now()
        finally:
            self._keeper.stop()
            letting_go = self._loop.run_in_executor(self._keeping, self._let_go)
            self._keeping.shutdown(wait=False)
            try:
                await self._journal.close()
            finally:
                await asyncio.wait([letting_go])

    def _let_go(self) -> None:
        self._room.close()
        for destination in self._all.values():
            destination.file.close()
        self._lock.release()

    # For the deliveries.

    def accepted_before(self) -> int | None:
        """Records accepted before this time (ns UTC) are too old; None if nothing ages."""
        return self._room.accepted_before()

    def refuse_if_over(self) -> None:
        """Raises `JournalFailed` once the disk has failed, `Unavailable` once closed."""
        failed = self._journal.failed or self._keeper.failed
        if failed is not None:
            raise JournalFailed(f"{self._directory}: {failed}")
        if self._closed:
            raise Unavailable(f"{self._directory}: the outbox is closed")

    def settled(self, destination: Destination) -> None:
        """A destination has confirmed something: keep that soon, with whatever else comes until then."""
        destination.age_from(self._journal.end)
        self._keeper.soon()

    # Helpers.

    async def _take_in(self, destination: Destination) -> None:
        walk = self._journal.walk()
        await self._loop.run_in_executor(self._keeping, fit, destination, walk, self._journal.begin, self._journal.end)
        self._all[destination.name] = destination

    async def _begin_destination(self, name: str, join: Join) -> None:
        beginning = partial(begin_destination, self._disk, self._directory, name, join)
        destination = await self._loop.run_in_executor(self._keeping, beginning, self._journal.begin, self._journal.end)
        await self._take_in(destination)

    def _items(self, batch: Batch) -> list[Item]:
        """A record, or several where one would be too large."""
        content = encode(batch)
        most = self._limits.journal.record_bytes_max
        if len(content) <= most:
            return [(content, len(batch))]
        if len(batch) <= 1:
            what = batch.tags[0] if batch.tags else "a gap"
            raise Rejected(f"{what}: {len(content)} bytes, where the outbox stores {most} at most")
        return [item for half in halves(batch) for item in self._items(half)]

    def _full(self, error: DiskFull) -> Unavailable:
        """Why nothing more fits: our limit, and who holds the space; or the disk itself."""
        behind = {name: destination.queued(self._journal.end) for name, destination in self._all.items()}
        if self.bytes + self._limits.journal.segment_bytes <= self.bytes_max or not behind:
            return error
        slowest = max(behind, key=lambda name: behind[name])
        return OutboxFull(
            f"{self._directory}: full with {self.bytes} of {self.bytes_max} bytes; "
            f"{slowest} has {behind[slowest]} samples to take; waiting until it does"
        )
