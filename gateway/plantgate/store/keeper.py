"""Makes what destinations have confirmed durable, a moment later and many at once, and trims what nobody needs."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Final

from plantgate.sdk.errors import GatewayError
from plantgate.sdk.sample import Batch
from plantgate.store.cursor import CursorFile, Saved
from plantgate.store.destination import Destination
from plantgate.store.journal import Journal
from plantgate.store.segment import no_space
from plantgate.store.writer import DiskFull, JournalFailed

_SAVE_SECONDS: Final = 0.2
"""How long a confirmation may wait to become durable: what a crash can cause to be given again."""


class Keeper:
    """Saves on a thread of its own, one save at a time; the journal is trimmed to what is durable, never further."""

    def __init__(self, journal: Journal, destinations: Mapping[str, Destination], executor: Executor) -> None:
        self._journal = journal
        self._destinations = destinations
        self._executor = executor
        self._loop = asyncio.get_running_loop()
        self._saving: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._trimming: asyncio.Future[int] | None = None
        """The last trim; it may still go on."""
        self.failed: str | None = None
        """Why nothing can be kept any more: a sync failed, and nobody knows what is stored."""

    def soon(self) -> None:
        """Something has changed."""
        if self._saving is None and self._timer is None:
            self._timer = self._loop.call_later(_SAVE_SECONDS, self._start)

    async def now(self) -> None:
        """Durable and trimmed on return. Raises `DiskFull` (what is owed needs room), `JournalFailed`."""
        while True:
            self._start()
            if (saving := self._saving) is None:
                break
            await asyncio.wait([saving])
            if (error := saving.exception()) is not None:
                if isinstance(error, OSError) and no_space(error):
                    raise DiskFull(f"no room to note what was dropped: {error}") from error
                raise JournalFailed(self.failed) from error
        self._trim()
        if self._trimming is not None:
            await asyncio.wait([self._trimming])

    def stop(self) -> None:
        """Save no more by itself."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self) -> None:
        self.stop()
        if self._saving is not None:
            return
        changed = [destination for destination in self._destinations.values() if destination.dirty]
        if not changed:
            return
        work = [(destination.file, destination.saved(), destination.owed()) for destination in changed]
        for destination in changed:
            destination.dirty = False
        saved = [(destination, saved) for destination, (_, saved, _) in zip(changed, work, strict=True)]
        self._saving = self._loop.run_in_executor(self._executor, _keep_all, work)
        self._saving.add_done_callback(partial(self._saved, saved))

    def _saved(self, saved: list[tuple[Destination, Saved]], saving: "asyncio.Future[None]") -> None:
        self._saving = None
        if saving.cancelled():
            return
        error = saving.exception()
        for destination, state in saved:
            if error is None:
                destination.was_saved(state)
            else:
                destination.dirty = True
        if error is not None and not (isinstance(error, OSError) and no_space(error)):
            self.failed = f"what destinations have confirmed cannot be kept ({error}); the outbox must be opened again"
            return
        self._trim()
        if any(destination.dirty for destination in self._destinations.values()):
            self.soon()

    def _trim(self) -> None:
        if (sequence := self._useless()) is not None:
            try:
                self._trimming = self._journal.trim(sequence)
            except GatewayError:
                return  # it has failed or is closed, and says so to whoever uses it

    def _useless(self) -> int | None:
        """The sequence below which nobody needs anything, where that is a segment at least."""
        starts = self._journal.segment_starts
        if len(starts) < 2 or not self._destinations:
            return None
        needed = min(destination.durable.sequence for destination in self._destinations.values())
        return needed if starts[1].sequence <= needed else None


def _keep_all(work: list[tuple[CursorFile, Saved, Batch | None]]) -> None:
    for file, saved, owed in work:
        file.keep(saved, owed)
