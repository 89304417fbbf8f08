"""Blocking work on a thread of its own: one resource, one piece of work at a time, and the loop goes on."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, TypeVar

T = TypeVar("T")


class OneThread:
    """Use it as ``with OneThread("onnx") as thread: await thread.do(work)``."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._turn = asyncio.Lock()
        self._running: asyncio.Future[Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def do(self, work: Callable[[], T]) -> T:
        """What `work` returns, or raises. Waits its turn, also for work that nobody waits for any more.

        Whoever stops waiting stops nothing: a thread cannot be interrupted. So keep to a deadline of your own.
        """
        async with self._turn:
            if self._running is not None:
                await asyncio.wait([self._running])
            running = asyncio.get_running_loop().run_in_executor(self._pool, work)
            self._running = running
            running.add_done_callback(_heard)
            return await asyncio.shield(running)


def _heard(done: "asyncio.Future[T]") -> None:
    """Nobody may be left to ask for the error."""
    if not done.cancelled():
        done.exception()
