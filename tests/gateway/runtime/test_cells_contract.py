"""A connector in a cell keeps the contracts that it keeps outside: what stands for it in the gateway is what it is."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from plantgate.config.model import CellSettings
from plantgate.flow.stop import Stop
from plantgate.runtime.cells.cell import Cell
from plantgate.runtime.cells.orders import Orders, packed_plan
from plantgate.runtime.cells.remote import Remote
from plantgate.sdk import Connector, Sample
from plantgate.testing.context import RecordedLog
from plantgate.testing.contract import SinkContract, SourceContract, lent
from tests.gateway.runtime.celled import Nursery
from tests.gateway.testing import acme


class Celled(acme.Device):
    """The device, and the cell that speaks to it."""

    cell: Cell

    @classmethod
    @asynccontextmanager
    async def beside(cls) -> AsyncIterator["Celled"]:
        settings = CellSettings(connections=("device",))
        async with cls.running() as device:
            assert isinstance(device, Celled)
            stop, spawn = Stop(), Nursery().spawn
            device.cell = Cell("hall", settings, spawn=spawn, log=RecordedLog(), news=lambda _: None)
            living = asyncio.create_task(device.cell.keep(stop))
            await device.cell._there.wait()
            await asyncio.sleep(1.0)  # all of its own tasks run
            try:
                yield device
            finally:
                stop.set()
                await living

    def connector(self, folder: Path) -> Connector[Any]:
        context, settings = lent(folder), acme.AcmeSettings()
        plan = packed_plan(acme.Acme, settings)
        orders = Orders(context.connection, "flow", str(context.folder), str(context.site_folder), plan)
        return Remote(settings, context, self.cell, orders)


class TestASourceInACell(SourceContract[Celled]):
    host = "plc"
    stalled_samples = 6_000
    stalled_bytes_max = 240_000

    def device(self) -> AbstractAsyncContextManager[Celled]:
        return Celled.beside()

    def connector(self, device: Celled, tmp_path: Path) -> Connector[Any]:
        return device.connector(tmp_path)

    async def produce(self, device: Celled, samples: Sequence[Sample]) -> None:
        await acme.shown(device, samples)


class TestASinkInACell(SinkContract[Celled]):
    host = "plc"

    def device(self) -> AbstractAsyncContextManager[Celled]:
        return Celled.beside()

    def connector(self, device: Celled, tmp_path: Path) -> Connector[Any]:
        return device.connector(tmp_path)

    async def arrived(self, device: Celled) -> Sequence[Sample]:
        return device.written
