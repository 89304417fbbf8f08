"""Keeps services running, and stops them in order."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import IntEnum
from types import TracebackType
from typing import Self, TypeAlias

from plantgate.flow.stop import Stop
from plantgate.sdk import Backoff, GatewayError, Log, Standing, Unavailable

Session: TypeAlias = Callable[[Stop], Awaitable[None]]
"""One session of a service: returns when done or asked to stop, raises to be opened again."""

SETTLED_SECONDS = 10.0
"""A session that lasted this long was a good one: the next pause starts small again."""


class Phase(IntEnum):
    """Phases stop first to last and start last to first."""

    SOURCES = 1
    STAGES = 2
    SINKS = 3
    EFFECTS = 4
    AUDIT = 5
    CELLS = 6
    OBSERVE = 7


async def keep_running(session: Session, *, stop: Stop, backoff: Backoff, standing: Standing, log: Log) -> None:
    """Open sessions one after the other until one returns or `stop` is set; never raises but for cancellation.

    What is raised on purpose is weather, or will be once an operator has acted: waited out, told once. Anything else is
    a bug or an untranslated error: told in full, every time, and waited out just the same, since the other flows must
    not feel it.
    """
    attempt = 0
    loop = asyncio.get_running_loop()
    while not stop.is_set():
        began = loop.time()
        try:
            await session(stop)
            standing.stopped()
            return
        except GatewayError as error:
            at_least = (error.retry_after_seconds or 0.0) if isinstance(error, Unavailable) else 0.0
            standing.away(str(error))
        except (Exception, asyncio.CancelledError) as error:
            # A library may cancel what its caller waits for, which is no wish of ours. And on 3.11 and 3.12 a group
            # that was cancelled can raise what a child raised while cleaning up (python/cpython#116720): restarting
            # then would outlive the cancellation.
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise asyncio.CancelledError from error
            at_least = 0.0
            standing.count("session_errors")
            standing.away(f"unexpected {type(error).__name__}: {error}")
            log.error("session ended by an unexpected error, opening the next one", exc_info=error)
        if loop.time() - began > SETTLED_SECONDS:
            attempt = 0
        if await stop.sleep(max(at_least, backoff.delay(attempt))):
            break
        attempt += 1
    standing.stopped()


@dataclass(slots=True)
class _Running:
    phase: Phase
    stop: Stop
    task: asyncio.Task[None]


class Supervisor:
    """Owns every service's task, so that none is orphaned; a service is started and ended by name."""

    def __init__(self, *, graces: dict[Phase, float], log: Log) -> None:
        """`graces`: seconds each phase may take to stop before its services are cancelled; others get 5."""
        self._graces = graces
        self._log = log
        self._running: dict[str, _Running] = {}
        self._group = asyncio.TaskGroup()
        self.abandoned = 0

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                await self.end(tuple(self._running))
            else:
                for running in self._running.values():
                    running.task.cancel()
        finally:
            await self._group.__aexit__(kind, error, trace)

    def start(self, name: str, phase: Phase, service: Session) -> Stop:
        """Run a service under a name not in use; the returned stop is the one it listens to."""
        assert name not in self._running, f"{name} runs already"
        stop = Stop()
        task = self._group.create_task(self._run(name, service, stop), name=name)
        self._running[name] = _Running(phase, stop, task)
        return stop

    async def end(self, names: tuple[str, ...]) -> None:
        """Stop these services phase by phase, each phase within its own grace; what does not stop is cancelled."""
        for phase in Phase:
            ending = {name: self._running[name] for name in names if name in self._running}
            ending = {name: running for name, running in ending.items() if running.phase is phase}
            for running in ending.values():
                running.stop.set()
            if not ending:
                continue
            _, late = await asyncio.wait([r.task for r in ending.values()], timeout=self._graces.get(phase, 5.0))
            for task in late:
                self.abandoned += 1
                self._log.warning("did not stop in time, cancelled", service=task.get_name(), phase=phase.name.lower())
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=2.0)
            for name in ending:
                # One that even now has not ended is left to the group; its name is free for what comes after it.
                self._running.pop(name, None)

    def is_running(self, name: str) -> bool:
        """True while a service of that name has not ended."""
        return name in self._running

    async def _run(self, name: str, service: Session, stop: Stop) -> None:
        try:
            await service(stop)
        finally:
            if (running := self._running.get(name)) is not None and running.stop is stop:
                del self._running[name]
