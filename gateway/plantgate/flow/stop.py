"""A request to stop that ends a wait and spares what is in hand."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Stop:
    """Set once. Waits made through it end early; work that is not a wait runs to its end."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._waits: set[asyncio.Timeout] = set()

    def set(self) -> None:
        """Ask to stop: every wait under way ends now, every later one at once."""
        self._event.set()
        now = asyncio.get_running_loop().time()
        for wait in self._waits:
            if not wait.expired():
                wait.reschedule(now)

    def is_set(self) -> bool:
        """True once asked."""
        return self._event.is_set()

    async def unless(self, wait_for: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
        """What `wait_for` returns, or None if asked to stop first; `wait_for` is then cancelled.

        A timeout moved to "now" does the cancelling: no task is made for each wait.
        """
        if self._event.is_set():
            return None
        patience = asyncio.timeout(None)
        try:
            async with patience:
                self._waits.add(patience)
                return await wait_for()
        except TimeoutError:
            if patience.expired():
                return None
            raise
        finally:
            self._waits.discard(patience)

    async def sleep(self, seconds: float) -> bool:
        """Sleep that long, or until asked to stop; True if asked."""
        if seconds > 0:
            await self.unless(lambda: asyncio.sleep(seconds))
        return self._event.is_set()

    async def wait(self) -> None:
        """Until asked."""
        await self._event.wait()
