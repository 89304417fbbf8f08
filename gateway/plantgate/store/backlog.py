"""Goes through stored records to drop them, or to shrink them to what matters; blocking, on a thread of its own."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from plantgate.sdk.sample import Batch, Value
from plantgate.store.codec import Unreadable, decode
from plantgate.store.destination import InHand
from plantgate.store.loss import FULL, TOO_OLD, Loss
from plantgate.store.reader import JournalWalk
from plantgate.store.record import Position, Record
from plantgate.store.segment import Damage

_READ_BYTES: Final = 1024 * 1024


def lost_between(walk: JournalWalk, begin: Position, end: Position) -> Loss:
    """What dropping these records loses."""
    loss = Loss(FULL)
    for item, weight in _between(walk, begin, end):
        if isinstance(item, Damage):
            loss.add_damage(weight)
        else:
            _lose(loss, item)
    return loss


def too_old(walk: JournalWalk, begin: Position, end: Position, accepted_before: int) -> tuple[Position, Loss]:
    """The records at the front that were accepted before a time (ns UTC): the position behind them, and the loss."""
    loss, after = Loss(TOO_OLD), begin
    damaged = 0
    for item, weight in _between(walk, begin, end):
        if isinstance(item, Damage):
            damaged += weight  # its time is unknown: it goes with an old record behind it, or stays
            continue
        if item.time >= accepted_before:
            break
        loss.add_damage(damaged)
        damaged = 0
        _lose(loss, item)
        after = item.after
    return after, loss


@dataclass(frozen=True, slots=True)
class Shrunk:
    """A backlog reduced to the newest sample of each tag."""

    latest: Batch
    loss: Loss
    records: list[int]
    """For each sample kept from a record, the record's sequence; sorted."""
    indexes: list[int]
    """For each sample kept from those owed before, its index there; sorted."""

    def of(self, item: InHand) -> int:
        """How many samples of a batch in hand are kept."""
        if item.latest:
            return bisect_left(self.indexes, item.begin + item.latest) - bisect_left(self.indexes, item.begin)
        return bisect_left(self.records, item.after.sequence) - bisect_left(self.records, item.begin)


def shrink(walk: JournalWalk, latest: Batch, done: int, begin: Position, end: Position) -> Shrunk:
    """The newest sample of each tag, of those owed from before (the first `done` are delivered) and of the records.

    They stand in the order in which they came. Memory is in proportion to the tags, not to the backlog.
    """
    newest: dict[str, tuple[Value, int, int | None, int]] = {}
    loss = Loss(FULL)
    received = latest.received
    for index in range(done, len(latest)):
        tag = latest.tags[index]
        newest[tag] = (latest.values[index], latest.qualities[index], latest.times[index], index - len(latest))
    for item, weight in _between(walk, begin, end):
        if isinstance(item, Damage):
            loss.add_damage(weight)
            continue
        loss.accepted = item.time
        try:
            batch = decode(item.payload)
        except Unreadable:
            loss.add_damage(item.weight)
            continue
        loss.gaps += batch.gaps
        received = batch.received
        for tag, value, quality, time in zip(batch.tags, batch.values, batch.qualities, batch.times, strict=True):
            replaced = newest.pop(tag, None)
            if replaced is not None:
                loss.add_sample(tag, replaced[2])
            newest[tag] = (value, quality, time, item.sequence)
    sources = [source for _, _, _, source in newest.values()]
    kept = Batch(
        list(newest),
        [value for value, _, _, _ in newest.values()],
        [quality for _, quality, _, _ in newest.values()],
        [time for _, _, time, _ in newest.values()],
        received=received,
    )
    return Shrunk(
        kept,
        loss,
        sorted(source for source in sources if source >= 0),
        sorted(source + len(latest) for source in sources if source < 0),
    )


def _lose(loss: Loss, record: Record) -> None:
    loss.accepted = record.time
    try:
        loss.add(decode(record.payload))
    except Unreadable:
        loss.add_damage(record.weight)


def _between(walk: JournalWalk, begin: Position, end: Position) -> Iterator[tuple[Record | Damage, int]]:
    """Records and damage, each with the weight it settles."""
    position = begin
    while position.sequence < end.sequence:
        found = walk.read(position.sequence, _READ_BYTES)
        if isinstance(found, Damage):
            resumes = min(found.resumes, end)
            yield found, resumes.weight - position.weight
            position = resumes
            continue
        if not found:
            return
        for record in found:
            if record.sequence >= end.sequence:
                return
            yield record, record.weight
            position = record.after
