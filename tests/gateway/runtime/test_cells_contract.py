"""A connector in a cell keeps the contracts that it keeps outside: what stands for it in the gateway is what it is."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from plantgate.runtime.cells.cell import Cell
from plantgate.sdk import Connector, Sample
from plantgate.testing.contract import SinkContract, SourceContract, lent
from tests.gateway.runtime.celled import Nursery, a_cell, remote
from tests.gateway.testing import acme, eye, valve
from tests.gateway.testing.test_contract_actuator import ValveContract
from tests.gateway.testing.test_contract_camera import EyeContract


class Celled(acme.Device):
    """The device, and the cell that speaks to it."""

    cell: Cell

    @classmethod
    @asynccontextmanager
    async def beside(cls) -> AsyncIterator["Celled"]:
        async with cls.running() as device, a_cell(Nursery()) as cell:
            assert isinstance(device, Celled)
            device.cell = cell
            yield device

    def connector(self, folder: Path) -> Connector[Any]:
        return remote(self.cell, lent(folder), acme.Acme, acme.AcmeSettings())


class CelledValve(valve.Device):
    """The valve, and the cell that speaks to it."""

    cell: Cell

    @classmethod
    @asynccontextmanager
    async def beside(cls) -> AsyncIterator["CelledValve"]:
        async with cls.running() as device, a_cell(Nursery()) as cell:
            assert isinstance(device, CelledValve)
            device.cell = cell
            yield device


class CelledEye(eye.Device):
    """The camera, and the cell that looks through it."""

    cell: Cell

    @classmethod
    @asynccontextmanager
    async def beside(cls) -> AsyncIterator["CelledEye"]:
        async with a_cell(Nursery()) as cell:
            device = cls()
            device.cell = cell
            yield device


class CelledEyes(eye.Eye):
    """Its connector, which is found by its name in the cell."""


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


class TestAnActuatorInACell(ValveContract):
    def device(self) -> AbstractAsyncContextManager[valve.Device]:
        return CelledValve.beside()

    def connector(self, device: valve.Device, tmp_path: Path) -> Connector[Any]:
        assert isinstance(device, CelledValve)
        return remote(device.cell, lent(tmp_path), valve.Valve, valve.ValveSettings())


class TestACameraInACell(EyeContract):
    def device(self) -> AbstractAsyncContextManager[eye.Device]:
        return CelledEye.beside()

    def connector(self, device: eye.Device, tmp_path: Path) -> Connector[Any]:
        assert isinstance(device, CelledEye)
        CelledEyes.device = device
        return remote(device.cell, lent(tmp_path), CelledEyes, eye.EyeSettings())
