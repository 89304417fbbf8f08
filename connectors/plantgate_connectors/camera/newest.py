"""From a thread to the loop: one thing at most, the newest; what it replaces is counted."""

import asyncio
import threading
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class Newest(Generic[T]):
    """Made on the loop that takes. Whatever the loop is busy with, no more than one thing waits here."""

    def __init__(self) -> None:
        self._loop, self._there = asyncio.get_running_loop(), asyncio.Event()
        self._lock = threading.Lock()  # between the thread that puts and the loop that takes
        self._thing: T | None = None
        self._end: Exception | None = None
        self._missed = 0

    def put(self, thing: T) -> None:
        """From the thread."""
        with self._lock:
            waits = self._thing is not None
            self._missed += waits
            self._thing = thing
        if not waits:
            self._tell()

    def end(self, error: Exception) -> None:
        """From the thread: nothing more will come. What was put last can no longer be taken."""
        with self._lock:
            self._end = error
        self._tell()

    async def wait(self) -> None:
        """Until there is one. Raises what `end` was told."""
        while True:
            with self._lock:
                if self._end is not None:
                    raise self._end
                if self._thing is not None:
                    return
                self._there.clear()
            await self._there.wait()

    async def take(self) -> tuple[T, int]:
        """The newest, and how many have gone since one was taken. Raises what `end` was told."""
        await self.wait()
        with self._lock:
            thing, missed = self._thing, self._missed
            self._thing, self._missed = None, 0
        assert thing is not None
        return thing, missed

    def _tell(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody takes any more
            self._loop.call_soon_threadsafe(self._there.set)
