"""Keeps an outbox within its limits: drops or shrinks the backlog of whoever stands in the way."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Final

from plantgate.sdk.clock import Clock
from plantgate.store.backlog import lost_between, shrink, too_old
from plantgate.store.destination import Destination
from plantgate.store.journal import Journal
from plantgate.store.keeper import Keeper
from plantgate.store.limits import Limits, WhenFull
from plantgate.store.record import Position

_AGE_LOOKS: Final = 20
"""How often in the life of a record its age is looked at."""


class Room:
    """One at a time. What is dropped is counted and owed to its destination before a byte of it is given back."""

    def __init__(
        self,
        journal: Journal,
        destinations: Mapping[str, Destination],
        keeper: Keeper,
        limits: Limits,
        clock: Clock,
        executor: Executor,
    ) -> None:
        self._journal = journal
        self._destinations = destinations
        self._keeper = keeper
        self._limits = limits
        self._clock = clock
        self._executor = executor
        self._loop = asyncio.get_running_loop()
        self._one = asyncio.Lock()
        self._walk = journal.walk()
        self._next_look = 0.0

    def accepted_before(self) -> int | None:
        """Records accepted before this time (ns UTC) are too old; None if nothing ages."""
        age = self._limits.age_max_seconds
        return None if age is None else self._clock.now() - round(age * 1e9)

    def close(self) -> None:
        """Close the file being gone through; blocking, on the executor."""
        self._walk.close()

    async def make(self, seen: int) -> bool:
        """Give back at least one segment, if the limits allow it; False if only waiting helps.

        `seen` is how many segments had been trimmed before the outbox was found full: whoever comes when more have been
        need only try again. Raises `DiskFull`, `JournalFailed`.
        """
        figures = self._journal.figures
        async with self._one:
            if figures.trimmed == seen:
                await self._keeper.now()
            if figures.trimmed == seen and (until := self._until()) is not None:
                for destination in list(self._destinations.values()):
                    await self._overtake(destination, until)
                await self._keeper.now()
            self._journal.refuse_if_over()
            return figures.trimmed != seen

    def _until(self) -> Position | None:
        """Up to where the backlog must go; None if it must not."""
        starts = self._journal.segment_starts
        if self._limits.when_full is WhenFull.BLOCK or len(starts) < 2:
            return None
        return starts[1] if self._limits.when_full is WhenFull.DROP_OLDEST else self._journal.end

    async def _overtake(self, destination: Destination, until: Position) -> None:
        async with destination.lock:
            begin = destination.position
            if begin.sequence >= until.sequence:
                return
            until = destination.whole_in_hand(until)
            if self._limits.when_full is WhenFull.KEEP_LATEST:
                latest, done = destination.latest, destination.latest_done
                shrunk = await self._loop.run_in_executor(
                    self._executor, shrink, self._walk, latest, done, begin, until
                )
                destination.overtake(until, shrunk.loss, shrunk.latest, shrunk)
            else:
                loss = await self._loop.run_in_executor(self._executor, lost_between, self._walk, begin, until)
                destination.overtake(until, loss)
            destination.age_from(self._journal.end)

    async def look_at_ages(self) -> None:
        """Drop what is too old for destinations that take nothing at present; the others do it as they read."""
        limit = self.accepted_before()
        if limit is None or self._loop.time() < self._next_look or self._limits.age_max_seconds is None:
            return
        self._next_look = self._loop.time() + self._limits.age_max_seconds / _AGE_LOOKS
        for destination in list(self._destinations.values()):
            if destination.oldest is None or destination.oldest >= limit:
                continue
            async with destination.lock:
                if destination.in_hand:
                    continue
                begin = destination.position
                until, loss = await self._loop.run_in_executor(
                    self._executor, too_old, self._walk, begin, self._journal.end, limit
                )
                if until != begin:
                    destination.overtake(until, loss)
                    destination.age_from(self._journal.end)
                    self._keeper.soon()
