"""What one destination has been given, has confirmed and is owed: the counting, without the disk.

Everything before `position` is settled: delivered or dropped, each counted where it happens. What has been given and
not confirmed is *in hand*. A limit may overtake what is in hand: it is then counted as dropped, and counted back when
the confirmation comes after all.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Protocol

from plantgate.sdk.sample import Batch, Cursor, Gap
from plantgate.store.cursor import CursorFile, Saved
from plantgate.store.loss import DAMAGED, Loss, merged
from plantgate.store.record import START, Position


class Kept(Protocol):
    """Which samples outlived the shrinking of a backlog."""

    def of(self, item: "InHand") -> int:
        """How many of a batch in hand did."""
        ...


@dataclass(slots=True)
class InHand:
    """A batch that was given and is not confirmed yet."""

    cursor: Cursor
    after: Position
    """Settled up to here once confirmed."""
    begin: int
    """Sequence of the record its first sample is from, or index of its first sample among the newest ones owed."""
    samples: int
    dropped: int = 0
    """Samples passed over on the way to it: its own gaps say so."""
    dropped_cause: str = ""
    accepted: int | None = None
    """When its first record was accepted, ns UTC; None where that is not known."""
    gaps: int = 0
    """Owed gaps it carries."""
    latest: int = 0
    """Owed newest samples it carries; they are all its samples then."""
    kept: int | None = None
    """Once overtaken: how many of its samples are still queued, and will be given again. None before."""
    overtaken_cause: str = ""


@dataclass(slots=True)
class Destination:
    """The state of one destination of an outbox."""

    name: str
    file: CursorFile
    position: Position
    joined: int
    delivered: int
    dropped: int
    owed_number: int
    """Of the file that holds gaps and newest samples; a change of either takes the next one."""
    latest_number: int = 0
    """Counts how often the backlog was shrunk."""
    gaps: list[Gap] = field(default_factory=list)
    """To be told before anything else."""
    latest: Batch = field(default_factory=Batch.empty)
    """To be delivered before the records from `position` on."""
    gaps_told: int = 0
    latest_done: int = 0
    in_hand: deque[InHand] = field(default_factory=deque)
    given: Position = START
    """Behind the last record given in this session."""
    gaps_given: int = 0
    latest_given: int = 0
    session: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while in hand and position change together with something that waits for the disk."""
    resolved: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while nothing in hand is overtaken: only then is it known how large the gap is."""
    durable: Position = START
    """Settled on disk: the records before it may be trimmed."""
    dirty: bool = False
    oldest: int | None = None
    """When the oldest record not confirmed was accepted, ns UTC; None if there is none."""
    _given: int = 0
    _owed_written: int = 0
    _owed_taken: int = 0
    """Being written: what changes now is not in it."""

    @classmethod
    def restored(cls, name: str, file: CursorFile, saved: Saved) -> "Destination":
        """As it was saved. What it was owed and can no longer be read is counted as dropped, and named."""
        owed = file.read_owed(saved.owed) if saved.owing else Batch.empty()
        destination = cls(
            name, file, saved.position, saved.joined, saved.delivered, saved.dropped, saved.owed, saved.latest_number
        )
        destination.durable = saved.position
        destination._owed_written = saved.owed
        if owed is None:
            lost = saved.latest - saved.latest_done
            destination.dropped += lost
            destination.owe([Gap((), None, None, DAMAGED, lost or None)])
        else:
            destination.gaps, destination.latest = list(owed.gaps), replace(owed, gaps=())
            destination.gaps_told, destination.latest_done = saved.gaps_told, saved.latest_done
        destination.begin_session()
        return destination

    def saved(self) -> Saved:
        """What is to be kept now."""
        return Saved(
            self.position,
            self.joined,
            self.delivered,
            self.dropped,
            self.owed_number,
            bool(self.gaps or self.latest),
            self.gaps_told,
            len(self.latest),
            self.latest_done,
            self.latest_number,
        )

    def owed(self) -> Batch | None:
        """What is to be kept in a new file; None if the file that is there still says it."""
        if self.owed_number == self._owed_written:
            return None
        self._owed_taken = self.owed_number
        return replace(self.latest, gaps=tuple(self.gaps))

    def was_saved(self, saved: Saved) -> None:
        """That state is durable now; it may be older than the present one."""
        self.durable = saved.position
        self._owed_written = saved.owed

    def begin_session(self) -> int:
        """Forget what is in hand: it was not confirmed and is given again. Returns the number of the session."""
        self.in_hand.clear()
        self.resolved.set()
        self.given = self.position
        self.gaps_given, self.latest_given = self.gaps_told, self.latest_done
        self.session += 1
        return self.session

    @property
    def latest_left(self) -> int:
        """Newest samples still to be delivered."""
        return len(self.latest) - self.latest_done

    def queued(self, end: Position) -> int:
        """Samples in the records from here to `end`, and newest samples still owed."""
        return end.weight - self.position.weight + self.latest_left

    # Giving.

    def give_owed(self, samples_max: int, origin: str) -> Batch | None:
        """Gaps and newest samples that this session has not given yet."""
        gaps = tuple(self.gaps[self.gaps_given :])
        begin, end = self.latest_given, min(len(self.latest), self.latest_given + samples_max)
        if not gaps and begin == end:
            return None
        latest = self.latest
        batch = Batch(
            latest.tags[begin:end],
            latest.values[begin:end],
            latest.qualities[begin:end],
            latest.times[begin:end],
            gaps=gaps,
            received=latest.received,
            # They have left the row of their numbers: they have one of their own.
            origin=f"{origin}/latest-{self.latest_number}" if end > begin else origin,
            position=begin if end > begin else self.given.weight,
        )
        self.gaps_given, self.latest_given = len(self.gaps), end
        return self._give(batch, InHand("", self.given, begin, len(batch), gaps=len(gaps), latest=end - begin))

    def give(
        self,
        batch: Batch,
        after: Position,
        begin: int,
        *,
        dropped: int = 0,
        dropped_cause: str = "",
        accepted: int | None = None,
    ) -> Batch:
        """Number a batch of records and remember that it is in hand."""
        return self._give(batch, InHand("", after, begin, len(batch), dropped, dropped_cause, accepted))

    def _give(self, batch: Batch, item: InHand) -> Batch:
        self._given += 1
        batch.cursor = item.cursor = f"{self.session}.{self._given}"
        self.in_hand.append(item)
        self.given = item.after
        return batch

    def whole_in_hand(self, until: Position) -> Position:
        """A position at or behind another that cuts no batch in hand in two."""
        for item in self.in_hand:
            if not item.latest and item.begin < until.sequence < item.after.sequence:
                until = item.after
        return until

    # Settling.

    def confirm(self, cursor: Cursor) -> None:
        """Everything up to this cursor has arrived. A cursor of an earlier session, or one confirmed, is ignored."""
        if not any(item.cursor == cursor for item in self.in_hand):
            return
        while self.in_hand:
            item = self.in_hand.popleft()
            self._settle(item)
            if item.cursor == cursor:
                break
        if all(item.kept is None for item in self.in_hand):
            self.resolved.set()
        self._tidy()
        self.dirty = True

    def age_from(self, end: Position) -> None:
        """After settling: how old is what is oldest now? Where it was not read yet, as old as it was."""
        if not self.queued(end):
            self.oldest = None
        elif self.in_hand and self.in_hand[0].accepted is not None:
            self.oldest = self.in_hand[0].accepted

    def _settle(self, item: InHand) -> None:
        self.oldest = item.accepted or self.oldest
        if item.kept is not None:
            arrived = item.samples - item.kept
            self.delivered += arrived
            self.dropped -= arrived
            self._reduce_gap(item.overtaken_cause, arrived)
            self._reduce_gap(DAMAGED if item.dropped_cause == DAMAGED else item.overtaken_cause, item.dropped)
        else:
            self.delivered += item.samples
            self.dropped += item.dropped
            self.position = item.after
            self.latest_done += item.latest
        self.gaps_told += item.gaps

    def overtake(self, until: Position, loss: Loss, latest: Batch | None = None, kept: "Kept | None" = None) -> None:
        """Settle everything up to `until` as dropped, except what `latest` keeps. Not durable before it is saved."""
        for item in self.in_hand:
            passed = latest is not None or (not item.latest and item.after.sequence <= until.sequence)
            if passed and item.kept is None:
                item.kept = 0 if kept is None else kept.of(item)
                item.overtaken_cause = loss.cause
                self.resolved.clear()
        self.dropped += loss.count
        self.oldest = loss.accepted or self.oldest
        self.position = until
        self.given = max(self.given, until)
        if latest is not None:
            self.latest, self.latest_done, self.latest_given = latest, 0, 0
            self.latest_number += 1
        self.owe(loss.told())

    def owe(self, gaps: list[Gap]) -> None:
        """Gaps to be told before anything else; those already given in this session stand as they are."""
        self.gaps = self.gaps[: self.gaps_given] + merged(self.gaps[self.gaps_given :] + gaps)
        self._change_owed()

    def _reduce_gap(self, cause: str, arrived: int) -> None:
        """What was taken for lost has arrived, or is told already: the gap that says so has not been given yet."""
        for index in range(self.gaps_given, len(self.gaps)):
            gap = self.gaps[index]
            if arrived and gap.cause == cause and gap.lost is not None:
                if gap.lost > arrived:
                    self.gaps[index] = replace(gap, lost=gap.lost - arrived)
                else:
                    del self.gaps[index]
                self._change_owed()
                return

    def _change_owed(self) -> None:
        if self.owed_number in (self._owed_written, self._owed_taken):
            self.owed_number += 1
        self.dirty = True

    def _tidy(self) -> None:
        """Nothing owed any more: no file either."""
        if self.gaps_told == len(self.gaps) and not self.latest_left and not self.in_hand:
            self.gaps, self.latest = [], Batch.empty()
            self.gaps_told = self.gaps_given = self.latest_done = self.latest_given = 0
