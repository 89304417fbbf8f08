"""Batches between the robot and the pump: bounded in samples, merged when read, kept until acknowledged."""

import asyncio
from collections import deque
from typing import Final

from plantgate.sdk import Batch, Cursor, Unavailable

_MERGE_SAMPLES: Final = 4096
_FEW_SAMPLES: Final = 1024
_MERGE_SECONDS: Final = 0.005
"""How long a few samples wait for others, since each batch costs the outbox a write to disk."""


class Backlog:
    """Outlives the sessions: a robot cannot be asked again, so what was given and not acknowledged is given again."""

    def __init__(self, samples_max: int) -> None:
        self._samples_max = samples_max
        self._new: deque[Batch] = deque()
        self._given: deque[Batch] = deque()
        self._again: deque[Batch] = deque()
        self._samples = 0
        self._number = 0
        self._stirred = asyncio.Event()
        self._over = ""

    @property
    def full(self) -> bool:
        """No more is taken until some of it is safe."""
        return self._samples >= self._samples_max

    def put(self, batch: Batch) -> None:
        """One more; whoever has a choice asks `full` first."""
        self._new.append(batch)
        self._samples += len(batch)
        self._stirred.set()

    def session_begins(self) -> None:
        """What was given in vain comes again, in the same order."""
        self._again.extendleft(reversed(self._given))
        self._given.clear()
        self._over = ""

    def session_ends(self, reason: str) -> None:
        """Nothing more will come; said once all of it was taken."""
        self._over = reason
        self._stirred.set()

    async def take(self) -> Batch:
        """Everything that waits, up to a few thousand samples. Cancelling loses nothing. Raises `Unavailable`."""
        while not self._again and not self._new:
            if self._over:
                raise Unavailable(self._over)
            self._stirred.clear()
            await self._stirred.wait()
        if not self._again and not self._over and sum(map(len, self._new)) < _FEW_SAMPLES:
            await asyncio.sleep(_MERGE_SECONDS)
        given = self._again.popleft() if self._again else self._merged()
        self._given.append(given)
        return given

    def acknowledge(self, cursor: Cursor) -> None:
        """Safe, and forgotten here."""
        upto = int(cursor)
        while self._given and int(self._given[0].cursor) <= upto:
            self._samples -= len(self._given.popleft())

    def _merged(self) -> Batch:
        batch = self._new.popleft()
        while self._new and len(batch) < _MERGE_SAMPLES and not self._new[0].gaps:
            batch.extend(self._new.popleft())
        self._number += 1
        batch.cursor = str(self._number)
        return batch
