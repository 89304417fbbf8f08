"""A gateway whose every connection lives in a cell, in simulated time: its cells are processes that can be killed."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from plantgate.config.model import CellSettings
from plantgate.flow.patient import patient
from plantgate.flow.pump import pump
from plantgate.flow.stop import Stop
from plantgate.runtime.cells.cell import Cell
from plantgate.runtime.cells.child import Child, Usage
from plantgate.runtime.cells.inside import Inside
from plantgate.runtime.cells.orders import Orders, packed_plan
from plantgate.runtime.cells.remote import Remote
from plantgate.sdk import Connector, Context, Settings, Sink, Source, Standing
from plantgate.store.outbox import Outbox
from plantgate.testing.clock import WallClock
from plantgate.testing.context import RecordedLog
from plantgate.testing.process import Process
from plantgate.testing.simloop import running
from tests.journeys import telemetry
from tests.journeys.plant import Device, FarEnd

DEVICE, FOLDER = "device", Path("/plantgate")


class Nothing(Settings):
    """No settings: the world of a run is one."""


class Worldly(Connector[Nothing]):
    """The connector of the device and of the far ends, by the connection's name."""

    Settings: ClassVar[type[Settings]] = Nothing
    device: ClassVar[Device]
    far_ends: ClassVar[dict[str, FarEnd]] = {}

    @asynccontextmanager
    async def source(self) -> AsyncIterator[Source]:
        async with self.device.session() as session:
            self.context.standing.up()
            yield session

    def sink(self) -> AbstractAsyncContextManager[Sink]:
        return self.far_ends[self.context.connection].session()


def context(orders: Orders) -> Context:
    log = RecordedLog()
    return Context(orders.connection, Path(orders.folder), Path(orders.site_folder), WallClock(), log, Standing(log))


@dataclass
class SimulatedChild:
    """A process of the simulation for a process of the machine, and TCP for the socket between the two."""

    process: Process
    host: str
    pid: int = 1
    usage_now: Usage = field(default_factory=Usage)

    def usage(self) -> Usage:
        return self.usage_now

    def limit(self, bytes_max: int) -> None:
        """The simulation has memory enough."""

    async def abort(self) -> None:
        await asyncio.sleep(1.0)  # for its last words
        self.process.kill()

    async def ended(self) -> str:
        self.process.kill()
        return "ended by SIGKILL"


@dataclass
class Nursery:
    """Starts simulated children, and knows those that live."""

    born: int = 0
    alive: dict[str, SimulatedChild] = field(default_factory=dict)

    @asynccontextmanager
    async def spawn(self, name: str, protocol: asyncio.Protocol) -> AsyncIterator[Child]:
        self.born += 1
        host = f"cell-{name}-{id(self)}-{self.born}"
        loop, arrived = asyncio.get_running_loop(), asyncio.Event()

        def connected() -> asyncio.Protocol:
            arrived.set()
            return protocol

        server = await loop.create_server(connected, host, 1)
        process = Process(partial(self._life, host), name=host)
        try:
            await arrived.wait()
            child = SimulatedChild(process, host)
            self.alive[name] = child
            yield child
        finally:
            self.alive.pop(name, None)
            process.kill()
            server.close()

    async def _life(self, host: str) -> None:
        loop = asyncio.get_running_loop()
        await Inside(context=context).serve(lambda wire: loop.create_connection(lambda: wire, host, 1))


@asynccontextmanager
async def a_cell(nursery: Nursery, stall_seconds: float = 10.0) -> AsyncIterator[Cell]:
    """One whose process is there, with all of its own tasks."""
    stop, settings = Stop(), CellSettings(connections=("device",), stall_seconds=stall_seconds)
    cell = Cell("hall", settings, spawn=nursery.spawn, log=RecordedLog(), news=lambda _: None)
    living = asyncio.create_task(cell.keep(stop))
    await cell._there.wait()
    await asyncio.sleep(1.0)
    try:
        yield cell
    finally:
        stop.set()
        await living


def remote(cell: Cell, lent: Context, connector: type[Connector[Any]], settings: Settings) -> Remote:
    """That connector, in the cell."""
    plan = packed_plan(connector, settings)
    orders = Orders(lent.connection, "flow", str(lent.folder), str(lent.site_folder), plan)
    return Remote(settings, lent, cell, orders)


@dataclass
class CelledGateway(telemetry.Gateway):
    """As `tests.journeys.telemetry.Gateway`, with a cell for each end and somebody who kills and freezes them."""

    nursery: Nursery = field(default_factory=Nursery)
    harms: ClassVar[int] = 0
    """Cells that were killed or frozen, in all runs."""

    async def run(self) -> None:
        Worldly.device, Worldly.far_ends = self.device, {end.name: end for end in self.far_ends}
        names = [far_end.name for far_end in self.far_ends]
        seen = self.seen_as(self.disk)
        opened = await Outbox.open(telemetry.FOLDER, names, limits=self.limits, disk=seen, clock=WallClock())
        closing = Stop()
        async with opened as self.outbox, asyncio.TaskGroup() as outer:
            remotes = {name: self._remote(name, outer, closing) for name in (DEVICE, *names)}
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep(partial(self._fill, opened, remotes[DEVICE])))
                for name in names:
                    group.create_task(self._keep(partial(self._empty, opened, name, remotes[name])))
                group.create_task(self._watch())
                group.create_task(self._killing(running().random("killer")))
            closing.set()

    def _remote(self, name: str, group: asyncio.TaskGroup, closing: Stop) -> Remote:
        log = RecordedLog()
        settings = CellSettings(connections=(name,), stall_seconds=1.0)
        cell = Cell(name, settings, spawn=self.nursery.spawn, log=log, news=lambda _: None)
        group.create_task(cell.keep(closing))
        orders = Orders(name, "telemetry", str(FOLDER), str(FOLDER), packed_plan(Worldly, Nothing()))
        return Remote(Nothing(), context(orders), cell, orders)

    async def _fill(self, outbox: Outbox, remote: Remote) -> None:
        async with remote.source() as source:
            accept = patient(outbox.accept, backoff=telemetry.RECONNECT, stop=self.stop)
            await self.collecting(source, accept, stop=self.stop)

    async def _empty(self, outbox: Outbox, name: str, remote: Remote) -> None:
        async with remote.sink() as sink:
            await pump(outbox.reader(name), sink.accept, stop=self.stop)

    async def _killing(self, luck: random.Random) -> None:
        calm = running().elapsed + 20.0
        while not await self.stop.sleep(luck.expovariate(1.5)) and running().elapsed < calm:
            if alive := sorted(self.nursery.alive):
                child = self.nursery.alive[luck.choice(alive)]
                if luck.random() < 0.3:
                    running().network.hold(child.host)  # to the gateway it stands still
                else:
                    child.process.kill()
                CelledGateway.harms += 1
