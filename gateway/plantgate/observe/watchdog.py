"""A thread that notices when the event loop stands still: a task cannot see its own loop frozen."""

import asyncio
import faulthandler
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

STALLED = 70
"""Exit code of a process ended by its watchdog (EX_SOFTWARE)."""


class Watchdog:
    """Counts stalls, says where the loop is stuck, and ends a process that does not come back."""

    def __init__(
        self, *, stall_seconds: float = 5.0, exit_seconds: float = 60.0, leave: Callable[[int], object] = os._exit
    ) -> None:
        """`stall_seconds` without a heartbeat is a stall, reported with all stacks; `exit_seconds` ends the process."""
        self.stalls = 0
        self.longest_seconds = 0.0
        self._stall, self._exit, self._leave = stall_seconds, exit_seconds, leave
        self._beat = time.monotonic()
        self._done = threading.Event()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch the running loop until the block ends."""
        self._beat = time.monotonic()
        thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        async with asyncio.TaskGroup() as group:
            heart = group.create_task(self._heart(), name="watchdog heartbeat")
            thread.start()
            try:
                yield
            finally:
                self._done.set()
                heart.cancel()

    async def _heart(self) -> None:
        while True:
            now = time.monotonic()
            self.longest_seconds = max(self.longest_seconds, now - self._beat - self._pace)
            self._beat = now
            await asyncio.sleep(self._pace)

    @property
    def _pace(self) -> float:
        return min(1.0, self._stall / 4)

    def _watch(self) -> None:
        reported = 0.0
        while not self._done.wait(self._pace):
            beat = self._beat
            silent = time.monotonic() - beat
            if silent > self._stall and beat != reported:
                reported = beat
                self.stalls += 1
                sys.stderr.write(
                    f'{{"level":"error","event":"the event loop has stood still","seconds":{silent:.1f}}}\n'
                )
                faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
            if silent > self._exit:
                self._leave(STALLED)
                return
