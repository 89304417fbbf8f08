"""What a host application has read and is not yet safe: batches, and what to acknowledge for each."""

import asyncio
import struct
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from plantgate.sdk import Batch, Context, Cursor, Gap
from plantgate.sdk.plausible import doubt_clock
from plantgate_connectors.mqtt.session import Session
from plantgate_connectors.mqtt.transport import PUBACK

BATCH_SAMPLES: Final = 2_000
"""A batch is closed at this many, so that one can be stored while the next is coming."""
_PUBACK: Final = struct.Struct("!BBH")


@dataclass(slots=True)
class _Filling:
    batch: Batch = field(default_factory=Batch.empty)
    mids: list[int] = field(default_factory=list)
    """What to acknowledge, of edge nodes that publish at QoS 1 against the rule."""
    size: int = 0
    tells: bool = False
    """Whether it carries the gap of our own absence."""


class Inbox:
    """Bounded: at `bytes_max` the session is read no further."""

    def __init__(self, context: Context, bytes_max: int) -> None:
        self._context = context
        self._bytes_max = bytes_max
        self._session: Session | None = None
        self.safe: int | None = None
        """When the first message of the last batch that is safe had come, ns UTC."""
        self._full: deque[_Filling] = deque()
        self._filling = _Filling()
        self._owed: deque[tuple[int, _Filling]] = deque()
        self._number = 0
        self._held_bytes = 0
        self._arrived = asyncio.Event()

    def attach(self, session: Session) -> None:
        """Whom to hold back, and where to acknowledge."""
        self._session = session

    def wake(self) -> None:
        """There is news for whoever waits."""
        self._arrived.set()

    # Filling.

    def take(self, mid: int, size: int) -> Batch:
        """The batch that a message of this size goes into."""
        filling = self._filling
        if len(filling.batch.tags) >= BATCH_SAMPLES or len(filling.mids) >= BATCH_SAMPLES:
            self._next()
            filling = self._filling
        filling.batch.received = filling.batch.received or self._context.clock.now()
        if mid:
            filling.mids.append(mid)
        filling.size += size
        self._held_bytes += size
        if self._held_bytes > self._bytes_max and self._session is not None:
            self._session.pause()
        self._arrived.set()
        return filling.batch

    def gap(self, gap: Gap, *, tells: bool = False) -> None:
        """What is missing lies before the samples that follow: those that came before go in a batch before it."""
        if self._filling.batch.tags:
            self._next()
        batch = self._filling.batch
        batch.gaps = (*batch.gaps, gap)
        batch.received = batch.received or self._context.clock.now()
        self._filling.tells = self._filling.tells or tells
        self._arrived.set()

    def _next(self) -> None:
        self._full.append(self._filling)
        self._filling = _Filling()

    # Emptying.

    async def read(self) -> Batch | None:
        """The next batch with anything in it; None when woken without one."""
        await self._arrived.wait()
        filling = self._full.popleft() if self._full else self._filling
        if filling is self._filling:
            self._filling = _Filling()
            self._arrived.clear()
        batch = filling.batch
        if not (batch.tags or batch.gaps):
            if self._owed:  # nothing usable came; confirmed in its turn, together with what came before
                self._owed[-1][1].mids += filling.mids
                self._owed[-1][1].size += filling.size
            else:
                self._confirm([filling])
            return None
        now = self._context.clock.now()
        batch.received = batch.received or now
        if wrong := doubt_clock(batch.times, batch.qualities, now):
            self._context.standing.count("clocks_ahead", wrong)
        self._number += 1
        batch.cursor = str(self._number)
        self._owed.append((self._number, filling))
        return batch

    def ack(self, cursor: Cursor) -> bool:
        """Everything up to this batch is safe. True if one of them told of our own absence."""
        upto = int(cursor)
        safe: list[_Filling] = []
        while self._owed and self._owed[0][0] <= upto:
            safe.append(self._owed.popleft()[1])
        self._confirm(safe)
        if safe:
            self.safe = safe[-1].batch.received
        return any(filling.tells for filling in safe)

    def _confirm(self, safe: list[_Filling]) -> None:
        self._held_bytes -= sum(filling.size for filling in safe)
        if self._session is None:
            return
        self._session.wire.write(b"".join([_PUBACK.pack(PUBACK, 2, mid) for filling in safe for mid in filling.mids]))
        if self._held_bytes * 2 <= self._bytes_max:
            self._session.resume()
