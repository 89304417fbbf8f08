"""Readings in from whoever posts them, confirmed to each when the batch they became is safe."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from plantgate.sdk import Batch, Context, Cursor
from plantgate.sdk.plausible import doubt_clock

BATCH_SAMPLES: Final = 2_000
"""A batch is closed at this many, so that one can be stored while the next is coming."""
OVERHEAD_BYTES: Final = 500
"""What a small request takes in memory beside its body."""


@dataclass(slots=True)
class Room:
    """Bytes received and not yet safe, of all requests together."""

    bytes_max: int
    taken: int = 0

    def fits(self, size: int) -> bool:
        """Whether there is room for so many more."""
        return self.taken + size <= self.bytes_max


def _promise() -> "asyncio.Future[None]":
    return asyncio.get_running_loop().create_future()


@dataclass(slots=True)
class _Filling:
    """Requests on their way to becoming a batch."""

    batch: Batch = field(default_factory=Batch.empty)
    size: int = 0
    safe: "asyncio.Future[None]" = field(default_factory=_promise)
    """Done when the batch is safe; cancelled when the session ends before."""


class HttpReceiver:
    """The source: one session's requests, gathered into batches."""

    def __init__(self, context: Context, room: Room) -> None:
        self._context = context
        self._room = room
        self._full: deque[_Filling] = deque()
        self._filling: _Filling | None = None
        self._owed: deque[tuple[int, _Filling]] = deque()
        """Read and not acknowledged, by number."""
        self._number = 0
        self._arrived = asyncio.Event()
        self._closed = False

    # The doors.

    async def read(self) -> Batch:
        """Everything that has come, up to a batch; waits for the first of it."""
        await self._arrived.wait()
        filling = self._next()
        batch = filling.batch
        if wrong := doubt_clock(batch.times, batch.qualities, batch.received):
            self._context.standing.count("clocks_ahead", wrong)
        self._number += 1
        batch.cursor = str(self._number)
        self._owed.append((self._number, filling))
        return batch

    async def ack(self, cursor: Cursor) -> None:
        """The senders may forget these readings."""
        upto = int(cursor)
        while self._owed and self._owed[0][0] <= upto:
            _, filling = self._owed.popleft()
            self._room.taken -= filling.size
            if not filling.safe.done():
                filling.safe.set_result(None)

    # What the server brings.

    def offer(self, batch: Batch, size: int) -> "asyncio.Future[None]":
        """Take a request's samples and gaps; the answer is done when they are safe, and cancelled if they will not be.

        `size` bytes of the room are taken over from the request, and given back when they are safe.
        """
        if self._closed:
            self._room.taken -= size
            never = _promise()
            never.cancel()
            return never
        filling = self._filling
        if filling is not None and (batch.gaps or len(filling.batch) + len(batch) > BATCH_SAMPLES):
            self._full.append(filling)
            filling = None
        if filling is None:
            filling = self._filling = _Filling()
            filling.batch.received = self._context.clock.now()
        filling.batch.extend(batch)
        filling.size += size
        self._arrived.set()
        return filling.safe

    def close(self) -> None:
        """Whoever waits is told that nothing of it is safe."""
        self._closed = True
        waiting = [filling for _, filling in self._owed] + list(self._full)
        if self._filling is not None:
            waiting.append(self._filling)
        for filling in waiting:
            self._room.taken -= filling.size
            filling.safe.cancel()

    def _next(self) -> _Filling:
        if self._full:
            return self._full.popleft()
        filling, self._filling = self._filling, None
        assert filling is not None, "what has arrived is somewhere"
        self._arrived.clear()
        return filling
