"""Asks URLs again and again, each at its interval."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from plantgate.sdk import Batch, Context, Cursor, Unavailable
from plantgate.sdk.plausible import doubt_clock
from plantgate_connectors.http.client import calling
from plantgate_connectors.http.fetch import Fetcher
from plantgate_connectors.http.readings import Read, reader
from plantgate_connectors.http.settings import Poll
from plantgate_connectors.http.watched import Watched
from plantgate_connectors.payloads.documents import Unreadable

BATCH_SAMPLES: Final = 2_000
BUFFER_SAMPLES: Final = 20_000
"""Polled and not yet read; beyond it nothing more is asked for, and what is missed is counted."""


class HttpPoller:
    """The source. Outlives its sessions: what one of them polled and nobody acknowledged, the next one gives."""

    def __init__(self, polls: tuple[Poll, ...], context: Context) -> None:
        self._polls, self._context = polls, context
        self._watched = [Watched(poll, self._offer) for poll in polls]
        self._waiting: deque[Batch] = deque()
        self._held = 0
        """Samples in `_waiting`."""
        self._owed: deque[Batch] = deque()
        """Read and not acknowledged."""
        self._number = 0
        self._arrived = asyncio.Event()
        self._began = False

    @asynccontextmanager
    async def polling(self) -> AsyncIterator["HttpPoller"]:
        """Poll until the block ends."""
        self._begin()
        failed: Exception | None = None
        async with AsyncExitStack() as stack:
            fetchers = [
                Fetcher(poll, self._context.connection, await stack.enter_async_context(calling(poll, self._who())))
                for poll in self._polls
            ]
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._keep_polling(watched, fetcher), name=f"poll {watched.poll.url}")
                    for watched, fetcher in zip(self._watched, fetchers, strict=True)
                ]
                try:
                    yield self
                except Exception as error:  # noqa: BLE001  a group would wrap it, and a verdict must be seen as one
                    failed = error
                finally:
                    for task in tasks:
                        task.cancel()
        if failed is not None:
            raise failed

    # The doors.

    async def read(self) -> Batch:
        """Everything that was polled, up to a batch; waits for the first of it."""
        await self._arrived.wait()
        batch = self._waiting.popleft()
        while self._waiting and not self._waiting[0].gaps and len(batch) + len(self._waiting[0]) <= BATCH_SAMPLES:
            batch.extend(self._waiting.popleft())
        self._held = sum(map(len, self._waiting))
        if not self._waiting:
            self._arrived.clear()
        if wrong := doubt_clock(batch.times, batch.qualities, batch.received):
            self._context.standing.count("clocks_ahead", wrong)
        self._number += 1
        batch.cursor = str(self._number)
        self._owed.append(batch)
        return batch

    async def ack(self, cursor: Cursor) -> None:
        """These need not be given again."""
        while self._owed and int(self._owed[0].cursor) <= int(cursor):
            self._owed.popleft()

    # Polling.

    def _begin(self) -> None:
        self._waiting.extendleft(reversed(self._owed))
        self._owed.clear()
        self._held = sum(map(len, self._waiting))
        if self._waiting:
            self._arrived.set()
        if not self._began:
            self._began = True
            mark = self._context.folder / "polled"
            try:
                if mark.exists():
                    for watched in self._watched:
                        watched.not_running()
                else:
                    mark.touch()
            except OSError as error:
                raise Unavailable(f"{self._who()}: cannot write {mark}: {error.strerror or error}") from error
        self._context.standing.desired = self._context.standing.monitored = len(self._polls)

    async def _keep_polling(self, watched: Watched, fetcher: Fetcher) -> None:
        loop = asyncio.get_running_loop()
        read = reader(watched.poll)
        interval = watched.poll.interval_seconds
        due = loop.time()
        while True:
            if self._held >= BUFFER_SAMPLES:
                watched.missed("outbox did not keep up")
            else:
                await self._look(watched, fetcher, read)
            due += interval
            late = loop.time() - due
            if late > 0:
                skipped = int(late // interval) + 1
                due += skipped * interval
                watched.missed("server slower than the interval", skipped)
                self._context.standing.count("polls_skipped", skipped)
            await asyncio.sleep(due - loop.time())

    async def _look(self, watched: Watched, fetcher: Fetcher, read: Read) -> None:
        self._context.standing.count("polls")
        try:
            body = await fetcher.fetch()
            if body is None:
                watched.unchanged()
            elif not watched.saw(body, read(body, {})):
                fetcher.forget()  # or it would answer that nothing has changed, and never give what had no room
        except Unavailable as error:
            self._context.standing.count("polls_failed")
            watched.failed(str(error))
        except Unreadable as error:
            self._context.standing.count("undecodable")
            fetcher.forget()
            reason = f"{self._who()}: the answer of {watched.poll.url} is not {watched.poll.payload.value}: {error}"
            watched.failed(reason, unreadable=True)
        self._stand()

    def _stand(self) -> None:
        failing = [watched.failing for watched in self._watched if watched.failing]
        self._context.standing.live = len(self._watched) - len(failing)
        if failing:
            more = f" (and {len(failing) - 1} more)" if len(failing) > 1 else ""
            self._context.standing.away(f"{failing[0]}{more}")
        else:
            self._context.standing.up()

    def _offer(self, batch: Batch) -> bool:
        if self._held >= BUFFER_SAMPLES:
            return False
        batch.received = self._context.clock.now()
        self._waiting.append(batch)
        self._held += len(batch)
        self._arrived.set()
        return True

    def _who(self) -> str:
        return self._context.connection
