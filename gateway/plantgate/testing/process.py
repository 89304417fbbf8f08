"""A part of a simulated run that can be killed, as a process is by SIGKILL.

    gateway = Process(lambda: run_the_gateway(disk))
    await asyncio.sleep(moment)
    disk = disk.power_cut(seed)      # or disk.restart(): the machine stays on
    gateway.kill()

A killed process takes no further step: no ``finally`` runs, no answer is heard. Its connections are reset, what it had
sent is still under way. Cancelling the tasks instead would let them tidy up, which is what a crash does not do.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from typing import Any

PROCESS: ContextVar["Process | None"] = ContextVar("plantgate_process", default=None)
"""The process that whatever runs now belongs to; None for the world outside."""


class Process:
    """Runs `main`; everything it starts belongs to it: tasks, timers, executor calls, connections, listeners."""

    def __init__(self, main: Callable[[], Coroutine[Any, Any, None]], *, name: str = "process") -> None:
        from plantgate.testing.simloop import running  # late: the loop knows processes

        self.name = name
        self.killed = False
        self._loop = running()
        self._over = self._loop.create_future()
        context = copy_context()
        context.run(PROCESS.set, self)
        self._task: asyncio.Task[None] = context.run(self._loop.create_task, main(), name=name)
        self._task.add_done_callback(lambda _: self._end())

    def kill(self) -> None:
        """End it between two steps. Harmless if it has ended."""
        if not self._over.done():
            self.killed = True
            self._loop.bereave(self)
            self._end()

    async def wait(self) -> None:
        """Until it has ended or was killed. Raises what `main` raised."""
        await asyncio.wait([self._over])
        if not self.killed and (error := self._task.exception()) is not None:
            raise error

    def _end(self) -> None:
        if not self._over.done():
            self._over.set_result(None)
