"""Batches between the devices and the pump: bounded in samples, merged when read, kept until acknowledged."""

import asyncio
from collections import deque
from typing import Final

from plantgate.sdk import Batch, Cursor

MERGE_SAMPLES: Final = 4096
"""A merged batch grows no further once it has so many; a device's batch is never torn."""
_FEW_SAMPLES: Final = 1024
MERGE_SECONDS: Final = 0.005
"""How long a few samples wait for others, since each batch costs the outbox a write to disk."""


class Backlog:
    """Outlives the sessions: a device cannot be asked again, so what was read and not acknowledged is given again."""

    def __init__(self, samples_max: int) -> None:
        self._samples_max = samples_max
        self._new: deque[Batch] = deque()
        self._given: deque[tuple[int, Batch]] = deque()
        self._again: deque[tuple[int, Batch]] = deque()
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

    def put(self, batch: Batch) -> None:
        """Takes it even when full: a device that was asked before it became so has answered."""
        self._new.append(batch)
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
            if sum(map(len, self._new)) < _FEW_SAMPLES:
                await asyncio.sleep(MERGE_SECONDS)
        if self._again:
            number, batch = self._again.popleft()
        else:
            batch = self._merged()
            self._number += 1
            number = self._number
            batch.cursor = str(number)
        self._given.append((number, batch))
        return batch

    def acknowledge(self, cursor: Cursor) -> None:
        """Safe, and forgotten here."""
        upto = int(cursor)
        while self._given and self._given[0][0] <= upto:
            self._count(-len(self._given.popleft()[1]))

    def _merged(self) -> Batch:
        batch = self._new.popleft()
        while self._new and len(batch) < MERGE_SAMPLES:
            batch.extend(self._new.popleft())
        if not self._new:
            self._arrived.clear()
        return batch

    def _count(self, samples: int) -> None:
        self._samples += samples
        if self._samples < self._samples_max:
            self._room.set()
        else:
            self._room.clear()
