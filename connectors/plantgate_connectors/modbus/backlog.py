"""Batches between the devices and the pump: bounded in samples, merged when read, kept until acknowledged."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final, TypeAlias

from plantgate.sdk import Batch, Cursor

MERGE_SAMPLES: Final = 4096
"""A merged batch grows no further once it has so many; a device's batch is never torn."""
_FEW_SAMPLES: Final = 1024
MERGE_SECONDS: Final = 0.005
"""How long a few samples wait for others, since each batch costs the outbox a write to disk."""

Mark: TypeAlias = tuple[str, int | None]
"""A device, and the source time of what it gave."""


@dataclass(frozen=True, slots=True)
class _Given:
    number: int
    batch: Batch
    marks: list[Mark]


class Backlog:
    """Outlives the sessions: a device cannot be asked again, so what was read and not acknowledged is given again."""

    def __init__(self, samples_max: int) -> None:
        self.safe: dict[str, int | None] = {}
        """By device, the source time of the last values that were acknowledged."""
        self._samples_max = samples_max
        self._new: deque[tuple[Batch, Mark]] = deque()
        self._given: deque[_Given] = deque()
        self._again: deque[_Given] = deque()
        self._samples = 0
        self._number = 0
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    @property
    def full(self) -> bool:
        """Nothing more is read from a device until some of it is safe."""
        return not self._room.is_set()

    async def room(self) -> None:
        """Until there is some."""
        await self._room.wait()

    def put(self, batch: Batch, device: str, time: int | None) -> None:
        """Takes it even when full: a device that was asked before it became so has answered."""
        self._new.append((batch, (device, time)))
        self._count(len(batch))
        self._arrived.set()

    def session_over(self) -> None:
        """What was given in vain comes again, in the same order."""
        self._again.extendleft(reversed(self._given))
        self._given.clear()

    async def take(self) -> Batch:
        """Everything that waits, up to a few thousand samples. Cancelling loses nothing."""
        if not self._again:
            await self._arrived.wait()
            if sum(len(batch) for batch, _ in self._new) < _FEW_SAMPLES:
                await asyncio.sleep(MERGE_SECONDS)
        given = self._again.popleft() if self._again else self._merged()
        self._given.append(given)
        return given.batch

    def acknowledge(self, cursor: Cursor) -> None:
        """Safe, and forgotten here."""
        upto = int(cursor)
        while self._given and self._given[0].number <= upto:
            done = self._given.popleft()
            self._count(-len(done.batch))
            for device, time in done.marks:
                if time is not None or device not in self.safe:
                    self.safe[device] = time

    def _merged(self) -> "_Given":
        batch, mark = self._new.popleft()
        marks = [mark]
        while self._new and len(batch) < MERGE_SAMPLES:
            following, mark = self._new.popleft()
            batch.extend(following)
            marks.append(mark)
        if not self._new:
            self._arrived.clear()
        self._number += 1
        batch.cursor = str(self._number)
        return _Given(self._number, batch, marks)

    def _count(self, samples: int) -> None:
        self._samples += samples
        if self._samples < self._samples_max:
            self._room.set()
        else:
            self._room.clear()
