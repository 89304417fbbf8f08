"""Files as a source: batches at the pace that was asked for, until the end or for ever."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from plantgate.sdk import Batch, Context, Cursor, Exhausted, Unavailable
from plantgate_connectors.files.reader import Reader
from plantgate_connectors.files.settings import Read


@asynccontextmanager
async def file_source(settings: Read, context: Context, thread: ThreadPoolExecutor) -> AsyncIterator["FileSource"]:
    """A session, from what was acknowledged on. Raises `Unavailable` when there is no file and none is waited for."""
    loop = asyncio.get_running_loop()
    try:
        reader = await loop.run_in_executor(thread, Reader, settings, context)
        if not settings.follow and not await loop.run_in_executor(thread, reader.files):
            raise Unavailable(f"{context.connection}: there is no file {settings.path}")
        context.standing.up(path=str(settings.path))
        yield FileSource(settings, context, reader, thread)
    except OSError as error:
        raise Unavailable(f"{context.connection}: {error}") from error


class FileSource:
    """One session; `file_source` makes it."""

    def __init__(self, settings: Read, context: Context, reader: Reader, thread: ThreadPoolExecutor) -> None:
        self._settings, self._context, self._reader, self._thread = settings, context, reader, thread
        self._reading: asyncio.Future[Batch | None] | None = None
        self._ready: Batch | None = None
        self._rows = settings.batch_rows
        self._due = asyncio.get_running_loop().time()
        if settings.rows_per_second is not None:
            # A tenth of a second's rows at a time, so that a replay flows rather than jolts.
            self._rows = max(1, min(settings.batch_rows, int(settings.rows_per_second / 10)))

    async def read(self) -> Batch:
        """The next rows. A read that is cancelled leaves them for the next one."""
        while self._ready is None:
            self._ready = await self._next()
            if self._ready is None and not self._reader.more:
                if not self._settings.follow:
                    raise Exhausted(f"{self._context.connection}: {self._settings.path} is read to its end")
                await asyncio.sleep(self._settings.poll_seconds)
        await self._pace()
        batch, self._ready = self._ready, None
        return batch

    async def ack(self, cursor: Cursor) -> None:
        """On disk on return."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._reader.settle, cursor)

    async def _next(self) -> Batch | None:
        if self._reading is None:
            loop = asyncio.get_running_loop()
            self._reading = loop.run_in_executor(self._thread, self._reader.next_batch, self._rows)
        # wait(), since being cancelled must not cancel the reading: the reader has moved on by then.
        await asyncio.wait([self._reading])
        done, self._reading = self._reading, None
        return done.result()

    async def _pace(self) -> None:
        if self._settings.rows_per_second is None:
            return
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._due - loop.time()))
        self._due = max(self._due, loop.time() - 1.0) + self._rows / self._settings.rows_per_second
