"""One cell: keeps its process running, and notices when it ends, stands still or takes too much."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from plantgate.config.hints import size
from plantgate.config.model import CellSettings
from plantgate.flow.stop import Stop
from plantgate.observe.status import CellStatus
from plantgate.runtime.cells.child import Child, Spawn, Usage
from plantgate.runtime.cells.link import Link, Session
from plantgate.runtime.cells.messages import Build, Drop, NewsLine, Role, Stood
from plantgate.runtime.cells.orders import Orders
from plantgate.sdk import Backoff, Log, Standing, State

RESTART: Final = Backoff(first_seconds=0.5, most_seconds=60.0)
"""Between the lives of a cell."""
SETTLED_SECONDS: Final = 60.0
"""A life this long was a good one: the next pause starts small again."""
TROUBLE_LOSSES: Final = 3
"""So many in a row are for a person to look at."""
START_SECONDS: Final = 60.0
"""How long a new process may take until it is heard of."""


class _Over(Exception):
    """A life of the cell has ended; the message says how."""


class _StoodStill(_Over):
    """It has to be ended."""


@dataclass(slots=True)
class _Use:
    orders: Orders
    standing: Standing
    counted: dict[str, int] = field(default_factory=dict)
    """What it has counted in this life of the cell."""


class Cell:
    """A process that holds connectors; `use` lends what is in it."""

    def __init__(
        self, name: str, settings: CellSettings, *, spawn: Spawn, log: Log, news: Callable[[NewsLine], None]
    ) -> None:
        self.name = name
        self._settings = settings
        self._spawn, self._log, self._news = spawn, log, news
        self._numbers = count(1)
        self._uses: dict[int, _Use] = {}
        self._link: Link | None = None
        self._child: Child | None = None
        self._there = asyncio.Event()
        self._since = time.monotonic()
        self._state, self._reason = State.STARTING, ""
        self._restarts = self._stalls = self._in_a_row = 0
        self._last_reason = ""
        self._usage, self._cpu_before = Usage(), 0.0

    # What the gateway's connectors ask of it.

    def hire(self, orders: Orders, standing: Standing) -> int:
        """Have a use of a connection in the cell, from now on and in every later life; gives its number."""
        number = next(self._numbers)
        self._uses[number] = _Use(orders, standing)
        if self._link is not None:
            self._link.say(Build(number, orders))
        return number

    def dismiss(self, number: int) -> None:
        """It is no longer needed."""
        del self._uses[number]
        if self._link is not None:
            self._link.say(Drop(number))

    @property
    def hired(self) -> bool:
        """Whether there is something in it."""
        return bool(self._uses)

    @asynccontextmanager
    async def session(self, use: int, role: Role) -> AsyncIterator[Session]:
        """A session of a use; waits for the process to be there. Raises `Unavailable` as the connector does."""
        while not self._there.is_set():
            await self._there.wait()
        assert self._link is not None
        with self._link.session(use, role) as session:
            try:
                await session.open()
                yield session
            except asyncio.CancelledError:
                session.cut()
                raise
            finally:
                await session.close()

    # Its life.

    def change(self, settings: CellSettings) -> None:
        """Other limits, from now on."""
        self._settings = settings
        if self._child is not None:
            self._limit(self._child)

    def status(self) -> CellStatus:
        """How it stands now."""
        return CellStatus(
            connections=tuple(self._settings.connections),
            state=self._state.value,
            reason=self._reason,
            since_seconds=round(time.monotonic() - self._since, 1),
            pid=self._child.pid if self._child is not None else 0,
            restarts=self._restarts,
            stalls=self._stalls,
            rss_bytes=self._usage.rss_bytes,
            cpu_seconds=round(self._cpu_before + self._usage.cpu_seconds, 2),
        )

    @property
    def trouble(self) -> str:
        """What an operator must look at: it does not stay up. Empty while it does."""
        settled = self._state is State.UP and time.monotonic() - self._since > SETTLED_SECONDS
        if settled or self._in_a_row < TROUBLE_LOSSES:
            return ""
        return f"cell {self.name} was lost {self._in_a_row} times in a row, the last time it {self._last_reason}"

    async def keep(self, stop: Stop) -> None:
        """Run the process until asked to stop; start it again whenever it ends. A service."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            reason = await self._live(stop)
            if stop.is_set():
                break
            if loop.time() - began > SETTLED_SECONDS:
                self._in_a_row = 0
            pause = RESTART.delay(self._in_a_row)
            self._in_a_row += 1
            self._restarts += 1
            self._last_reason = reason
            self._turn(State.AWAY, reason)
            self._log.error(
                "cell lost, starting it again", cell=self.name, reason=reason, pause_seconds=round(pause, 1)
            )
            if await stop.sleep(pause):
                break
        self._turn(State.STOPPED, "")

    async def _live(self, stop: Stop) -> str:
        """One life; gives how it ended."""
        reason = ""
        try:
            link = Link(stood=self._stood, news=self._heard)
            async with self._spawn(self.name, link.wire) as child:
                with self._linked(child, link):
                    try:
                        async with asyncio.TaskGroup() as group:
                            group.create_task(self._listen(child, link))
                            group.create_task(self._watch(child, link))
                            await stop.wait()
                            raise _Over("asked to stop")
                    except* _Over as over:
                        how = over.exceptions[0]
                        reason = str(how)
                        self._there.clear()
                        link.end(f"cell {self.name} {reason}")
                        if isinstance(how, _StoodStill):
                            await child.abort()
        except OSError as error:
            reason = f"cannot be started: {error}"
        return reason

    @contextmanager
    def _linked(self, child: Child, link: Link) -> Iterator[None]:
        self._child, self._link = child, link
        self._limit(child)
        for number, use in self._uses.items():
            use.counted.clear()
            link.say(Build(number, use.orders))
        try:
            yield
        finally:
            link.end(f"cell {self.name} has ended")
            self._there.clear()
            self._child = self._link = None
            self._cpu_before += self._usage.cpu_seconds
            self._usage = Usage()

    async def _listen(self, child: Child, link: Link) -> None:
        if fault := await link.wire.over:
            raise _Over(f"{fault}, so it was ended")
        raise _Over(await child.ended())

    async def _watch(self, child: Child, link: Link) -> None:
        """Counts looks without a beat, not time: a gateway that itself stood still must not blame its cells."""
        beats, missed = 0, 0.0
        while True:
            pace = min(1.0, self._settings.stall_seconds / 4)
            await asyncio.sleep(pace)
            if link.beats != beats:
                beats, missed = link.beats, 0.0
            else:
                missed += pace
            self._usage = child.usage()
            if missed >= (self._settings.stall_seconds if beats else START_SECONDS):
                self._stalls += 1
                raise _StoodStill(f"has stood still for {missed:.0f} s, so it was ended")
            most = self._settings.memory_bytes_max
            if most is not None and self._usage.rss_bytes > most:
                taken = size(self._usage.rss_bytes // 2**20 * 2**20)
                raise _Over(f"took {taken} of memory, where its `memory_bytes_max` is {size(most)}, so it was ended")

    def _limit(self, child: Child) -> None:
        if self._settings.memory_bytes_max is not None:
            # What is reserved is more than what is used; twice as much stops a single greedy step all the same.
            child.limit(2 * self._settings.memory_bytes_max)

    def _stood(self, stood: Stood) -> None:
        if (use := self._uses.get(stood.use)) is None:
            return
        standing = use.standing
        standing.state, standing.reason, standing.changed = stood.state, stood.reason, stood.changed
        standing.desired, standing.monitored, standing.live = stood.desired, stood.monitored, stood.live
        for name, number in stood.counters.items():
            standing.count(name, number - use.counted.get(name, 0))  # the gateway counts in there too
        use.counted = stood.counters

    def _heard(self, news: list[NewsLine]) -> None:
        if not self._there.is_set():
            self._turn(State.UP, "")
            self._there.set()
            self._log.info("cell up", cell=self.name, pid=self._child.pid if self._child is not None else 0)
        for line in news:
            self._news(line)

    def _turn(self, state: State, reason: str) -> None:
        self._state, self._reason, self._since = state, reason, time.monotonic()
