"""The outbox as a source: what one destination reads and confirms."""

from collections import deque
from typing import Protocol

from plantgate.sdk.errors import Unavailable
from plantgate.sdk.sample import Batch, Cursor, Gap
from plantgate.store.codec import decode
from plantgate.store.destination import Destination
from plantgate.store.loss import DAMAGED, TOO_OLD, Loss
from plantgate.store.reader import Corrupt, Reader, Trimmed
from plantgate.store.record import Record
from plantgate.store.segment import Damage

_READ_BYTES = 256 * 1024


class Host(Protocol):
    """What a delivery needs of its outbox."""

    @property
    def origin(self) -> str:
        """Names the outbox in the batches it gives."""
        ...

    def accepted_before(self) -> int | None:
        """Records accepted before this time (ns UTC) are too old to deliver; None if there is no limit."""
        ...

    def refuse_if_over(self) -> None:
        """Raises what is to be raised once the outbox is closed or has failed."""
        ...

    def settled(self, destination: Destination) -> None:
        """Something has been confirmed: keep it soon, and make room."""
        ...


class Delivery:
    """A `Source`: one session of one destination. A new session begins with what the last one did not confirm."""

    def __init__(self, host: Host, destination: Destination, reader: Reader, *, samples_max: int) -> None:
        self._host = host
        self._destination = destination
        self._reader = reader
        self._samples_max = samples_max
        self._session = destination.begin_session()
        self._held: deque[Record | Damage] = deque()
        """Read and not given yet."""

    async def read(self) -> Batch:
        """The next batch: what is owed first, then records, small ones together. Cancelling loses nothing.

        Raises `Unavailable` once the outbox is closed or another session has begun, `JournalFailed`, `Unreadable`.
        """
        destination = self._destination
        while True:
            self._refuse_if_over()
            await destination.resolved.wait()
            async with destination.lock:
                self._refuse_if_over()
                if destination.resolved.is_set() and (batch := self._next()) is not None:
                    return batch
            if destination.resolved.is_set():
                await self._fetch()

    async def ack(self, cursor: Cursor) -> None:
        """Settles everything up to this batch. Durable a moment later: after a crash, a little is given again."""
        self._host.refuse_if_over()
        destination = self._destination
        async with destination.lock:
            if destination.session == self._session:
                destination.confirm(cursor)
                self._host.settled(destination)

    def end(self) -> None:
        """Another session begins, or the outbox closes: what is in hand will be given again."""
        self._reader.close()

    def _refuse_if_over(self) -> None:
        self._host.refuse_if_over()
        if self._destination.session != self._session:
            raise Unavailable(f"{self._destination.name}: another session reads for this destination")

    async def _fetch(self) -> None:
        """Wait for records, and hold them."""
        given = self._destination.given.sequence
        if self._reader.sequence < given:
            self._reader.sequence = given
        try:
            self._held += await self._reader.read(_READ_BYTES)
        except Trimmed:
            # Overtaken while we looked; the next round begins behind it.
            if self._reader.sequence >= self._destination.given.sequence:
                raise
        except Corrupt as error:
            self._held.append(error.damage)
            self._reader.skip(error.damage)

    def _next(self) -> Batch | None:
        """The next batch of what is at hand."""
        destination = self._destination
        if (owed := destination.give_owed(self._samples_max, self._host.origin)) is not None:
            return owed
        held = self._held
        while held and _behind(held[0]) <= destination.given.sequence:
            held.popleft()  # overtaken, or a damaged marker that cost no record
        if not held:
            return None
        first = held[0]
        if isinstance(first, Damage):
            held.popleft()
            return self._give_damage(first)
        limit = self._host.accepted_before()
        if limit is not None and first.time < limit:
            return self._give_too_old(limit)
        return self._give_records(limit)

    def _give_damage(self, damage: Damage) -> Batch:
        """Nothing but the gap that names it."""
        destination = self._destination
        lost = damage.resumes.weight - destination.given.weight
        batch = Batch.empty(gaps=(Gap((), None, None, DAMAGED, lost),))
        batch.origin, batch.position = self._host.origin, destination.given.weight
        return destination.give(batch, damage.resumes, damage.first, dropped=lost, dropped_cause=DAMAGED)

    def _give_too_old(self, limit: int) -> Batch:
        """Nothing but the gap that names what has waited too long."""
        loss = Loss(TOO_OLD)
        destination = self._destination
        begin, after = destination.given, destination.given
        while self._held and isinstance(record := self._held[0], Record) and record.time < limit:
            loss.add(decode(record.payload))
            after = record.after
            self._held.popleft()
        batch = Batch.empty(gaps=tuple(loss.told()))
        batch.origin, batch.position = self._host.origin, begin.weight
        return destination.give(batch, after, begin.sequence, dropped=loss.count, dropped_cause=TOO_OLD)

    def _give_records(self, limit: int | None) -> Batch:
        """Records in one batch, up to the limit in samples or to a gap, which must stand before its samples."""
        destination = self._destination
        begin, after = destination.given, destination.given
        whole: Batch | None = None
        accepted = None
        while self._held and isinstance(record := self._held[0], Record):
            if whole is not None and len(whole) + record.weight > self._samples_max:
                break
            if limit is not None and record.time < limit:
                break  # a clock that was set back; the next call sees to it
            batch = decode(record.payload)
            assert len(batch) == record.weight, "a record that does not hold what it says"
            if whole is None:
                whole, accepted = batch, record.time
            elif batch.gaps:
                break
            else:
                whole.extend(batch)
            after = record.after
            self._held.popleft()
        assert whole is not None
        whole.origin, whole.position = self._host.origin, begin.weight
        return destination.give(whole, after, begin.sequence, accepted=accepted)


def _behind(item: Record | Damage) -> int:
    """Sequence of the record behind it."""
    return item.after if isinstance(item, Damage) else item.sequence + 1
