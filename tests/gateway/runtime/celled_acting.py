"""What acts, in simulated time, on a machine whose connection lives in a cell that is killed and stands still."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from plantgate.config.model import CellSettings
from plantgate.flow.stop import Stop
from plantgate.runtime.cells.cell import Cell
from plantgate.runtime.cells.orders import Orders, packed_plan
from plantgate.runtime.cells.remote import Remote
from plantgate.sdk import Actuator, Command, Connector, Deadline, Sample, Settings
from plantgate.testing.context import RecordedLog
from plantgate.testing.simloop import running
from tests.gateway.runtime.celled import Nothing, Nursery, context
from tests.journeys import acting
from tests.journeys.machine import Machine

CONNECTION, FOLDER = "plc", Path("/plantgate")


class Pressing(Connector[Nothing]):
    """The connector of the machine; its process may be killed before it has sent what it was told, and after."""

    Settings: ClassVar[type[Settings]] = Nothing
    machine: ClassVar[Machine]
    kill: ClassVar[Callable[[str], None]]
    """Does so, or does not."""

    @asynccontextmanager
    async def actuator(self) -> AsyncIterator[Actuator]:
        async with self.machine.session() as session:
            yield _Pressing(session)


class _Pressing:
    def __init__(self, session: Actuator) -> None:
        self._session = session

    async def write(self, command: Command) -> None:
        await _perhaps_the_end("told to write")
        await self._session.write(command)
        await _perhaps_the_end("written")

    async def read(self, tag: str, deadline: Deadline) -> Sample:
        await _perhaps_the_end("asked")
        return await self._session.read(tag, deadline)


async def _perhaps_the_end(when: str) -> None:
    Pressing.kill(when)
    await asyncio.sleep(0)  # from which a process that was killed does not return


@dataclass
class CelledActing(acting.Gateway):
    """As `tests.journeys.acting.Gateway`, with the machine's connection in a cell."""

    nursery: Nursery = field(default_factory=Nursery)
    harms: ClassVar[Counter[str]] = Counter()
    """What cells met, and when, in all runs."""

    async def run(self) -> None:
        Pressing.machine, Pressing.kill = self.machine, self._kill_perhaps
        closing, made = Stop(), self.hand
        settings = CellSettings(connections=(CONNECTION,), stall_seconds=1.0)
        cell = Cell("hall", settings, spawn=self.nursery.spawn, log=RecordedLog(), news=lambda _: None)
        orders = Orders(CONNECTION, "control", str(FOLDER), str(FOLDER), packed_plan(Pressing, Nothing()))
        remote = Remote(Nothing(), context(orders), cell, orders)
        self.hand = lambda name, _: made(name, remote.actuator)
        async with asyncio.TaskGroup() as group:
            group.create_task(cell.keep(closing))
            group.create_task(self._harm(running().random("harm")))
            await super().run()
            closing.set()

    def _kill_perhaps(self, when: str) -> None:
        share = {"told to write": 0.08, "written": 0.08, "asked": 0.005}[when]
        if self.machine.trouble and self.luck.random() < share:
            self._kill(when)

    def _kill(self, when: str) -> None:
        for child in self.nursery.alive.values():
            child.process.kill()
            CelledActing.harms[when] += 1

    async def _harm(self, luck: random.Random) -> None:
        """Cells stand still, some until they are ended and some not so long; some are killed at any moment."""
        while self.machine.trouble and not await self.stop.sleep(luck.expovariate(0.3)):
            if luck.random() < 0.3:
                self._kill("at any moment")
                continue
            for child in self.nursery.alive.values():
                CelledActing.harms["stood still"] += 1
                running().network.hold(child.host)
                running().call_later(luck.uniform(0.01, 1.5), running().network.heal, child.host)
