"""The growing end of a log: what comes at once becomes durable together, and is hashed in the order it is stored in."""

import asyncio
from collections import deque
from copy import copy
from typing import Final, NamedTuple

from plantgate.audit.tree import Frontier, leaf_hash
from plantgate.store.journal import Journal

_TOGETHER: Final = 1024
"""Entries that are made durable by one sync, at most."""


class _Waiting(NamedTuple):
    """Bytes to append, and whoever waits to hear of it."""

    content: bytes
    heard: "asyncio.Future[int]"
    """The index."""

    def tell(self, outcome: int | Exception) -> None:
        """Unless nobody waits any more."""
        if self.heard.done():
            return
        if isinstance(outcome, Exception):
            self.heard.set_exception(outcome)
        else:
            self.heard.set_result(outcome)


class Tail:
    """Of a journal to which nobody else appends."""

    def __init__(self, entries: Journal, frontier: Frontier) -> None:
        self._entries = entries
        self.frontier = frontier
        """Of what was acknowledged, hashed as it came."""
        self._waiting: deque[_Waiting] = deque()
        self._appending: asyncio.Task[None] | None = None
        """Ends when nothing waits any more."""
        self._grown = asyncio.Event()

    async def append(self, content: bytes) -> int:
        """Durable on return; the index. Raises what `Journal.append` does.

        Whoever is cancelled while it waits has appended all the same, or has not.
        """
        waiting = _Waiting(content, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._appending is None or self._appending.done():
            self._appending = asyncio.create_task(self._append_waiting())
        return await waiting.heard

    async def reached(self, size: int) -> None:
        """Wait until so many entries are durable."""
        while self.frontier.size < size:
            self._grown.clear()
            await self._grown.wait()

    async def rest(self) -> None:
        """Wait until everything that was appended is durable, or was refused."""
        if self._appending is not None:
            await asyncio.wait([self._appending])

    async def _append_waiting(self) -> None:
        """What waits, together; what comes meanwhile, together after it."""
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _TOGETHER))]
            error: Exception | None = None
            try:
                await self._entries.append_many([(waiting.content, 1) for waiting in batch])
            except Exception as raised:  # noqa: BLE001  told to each who waits; a bug must not leave them waiting
                error = raised
            stored = self._entries.end.sequence - self.frontier.size  # also where only some of them were
            for waiting in batch[:stored]:
                index = self.frontier.size
                self.frontier.append(leaf_hash(waiting.content))
                waiting.tell(index)
            self._grown.set()
            for waiting in batch[stored:]:
                assert error is not None, "acknowledged and not stored"
                waiting.tell(copy(error))
