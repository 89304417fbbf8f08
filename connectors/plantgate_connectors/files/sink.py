"""Files as a destination: a batch is accepted when it is on disk."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final

from plantgate.sdk import Batch, Context, Unavailable
from plantgate_connectors.files.settings import Write
from plantgate_connectors.files.writer import Writer

_DISK_PAUSE_SECONDS: Final = 2.0
"""A full disk is not emptied in milliseconds."""


@asynccontextmanager
async def file_sink(settings: Write, context: Context, thread: ThreadPoolExecutor) -> AsyncIterator["FileSink"]:
    """A session. Raises `Unavailable` when the folder cannot be written to, or another flow writes there."""
    loop = asyncio.get_running_loop()
    writer = Writer(settings, context)
    try:
        try:
            await loop.run_in_executor(thread, writer.open)
        except OSError as error:
            raise _unavailable(settings, context, error) from error
        context.standing.up(folder=str(settings.folder))
        yield FileSink(settings, context, writer, thread)
    finally:
        # Runs after an opening or a write under way and before the next session's opening, since all share one thread:
        # even if this wait is cut short.
        closing = loop.run_in_executor(thread, writer.close)
        await asyncio.wait([closing], timeout=5.0)
        if closing.done() and (fault := closing.exception()) is not None:
            context.log.warning("not closed properly, nothing is lost by it", reason=str(fault))


class FileSink:
    """One session; `file_sink` makes it."""

    def __init__(self, settings: Write, context: Context, writer: Writer, thread: ThreadPoolExecutor) -> None:
        self._settings, self._context, self._writer, self._thread = settings, context, writer, thread

    async def accept(self, batch: Batch) -> None:
        """On disk on return; a repeat is recognised by origin and position and written no second time."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.write, batch)
        except OSError as error:
            problem = _unavailable(self._settings, self._context, error)
            self._context.standing.away(str(problem))
            raise problem from error
        self._context.standing.up(folder=str(self._settings.folder))


def _unavailable(settings: Write, context: Context, error: OSError) -> Unavailable:
    reason = error.strerror or str(error)
    return Unavailable(
        f"{context.connection}: cannot write to {settings.folder}: {reason}", retry_after_seconds=_DISK_PAUSE_SECONDS
    )
