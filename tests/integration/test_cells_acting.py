"""Writing to a libmodbus slave from a cell, which is a real process: killed, frozen, and stopped by its name."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from plantgate.config.model import CellSettings
from plantgate.control.door import ask
from plantgate.flow.stop import Stop
from plantgate.runtime.cells.cell import Cell
from plantgate.runtime.cells.child import spawning
from plantgate.runtime.cells.orders import Orders, packed_plan
from plantgate.runtime.cells.remote import Remote
from plantgate.sdk import Actuator, Command, Deadline, OutcomeUnknown, Unavailable
from plantgate.testing.context import RecordedLog
from plantgate.testing.contract import lent
from plantgate_connectors.modbus import Modbus
from tests.integration.test_acting_gateway import House, house
from tests.integration.test_modbus_acting import SPEED, command, written
from tests.integration.test_modbus_libmodbus import connector
from tests.peers.modbus_slave import ModbusSlave, modbus_slave
from tests.peers.require import require

pytestmark = pytest.mark.integration


@dataclass
class Hall:
    """A cell with the slave's connection in it."""

    cell: Cell
    remote: Remote
    slave: ModbusSlave

    @property
    def pid(self) -> int:
        return self.cell.status().pid

    async def another_than(self, pid: int) -> None:
        """Until the cell lives again."""
        async with asyncio.timeout(60):
            while self.pid in (0, pid):  # noqa: ASYNC110  a process that starts tells nobody here
                await asyncio.sleep(0.05)


@asynccontextmanager
async def hall(folder: Path, stall_seconds: float = 60.0) -> AsyncIterator[Hall]:
    stop = Stop()
    async with modbus_slave() as slave, asyncio.TaskGroup() as group:
        made = connector(folder, host=slave.host, port=slave.port, devices=[SPEED])
        settings = CellSettings(connections=("press",), stall_seconds=stall_seconds)
        spawn = spawning(level="info", text=True)
        cell = Cell("hall", settings, spawn=spawn, log=RecordedLog(), news=lambda _: None)
        group.create_task(cell.keep(stop))
        plan = packed_plan(Modbus, made.settings)
        orders = Orders("press", "control", str(folder), str(folder), plan)
        try:
            yield Hall(cell, Remote(made.settings, lent(folder), cell, orders), slave)
        finally:
            stop.set()


def test_what_was_told_to_a_process_that_is_killed_the_next_one_never_hears(tmp_path: Path) -> None:
    require("modbus-slave")

    async def run() -> None:
        async with hall(tmp_path, stall_seconds=2.0) as here:
            for how in (signal.SIGKILL, None):  # None: the cell is ended for standing still
                writing, pid = None, 0
                try:
                    async with here.remote.actuator() as actuator:
                        await actuator.read("speed", Deadline.after(10.0))
                        pid = here.pid
                        os.kill(pid, signal.SIGSTOP)
                        writing = asyncio.create_task(actuator.write(command("speed", 7.5, seconds=3600.0)))
                        await asyncio.sleep(0.2)  # it lies in the socket of a process that does not run
                        if how is not None:
                            os.kill(pid, how)
                        await asyncio.sleep(3600.0)
                except Unavailable:
                    assert writing is not None
                    with pytest.raises(OutcomeUnknown, match="told to write, and then cell hall"):
                        await writing
                await here.another_than(pid)
                async with here.remote.actuator() as actuator:
                    assert (await actuator.read("speed", Deadline.after(10.0))).value == 0.0
            await asyncio.sleep(1.0)
            assert await written(here.slave) == 0
            async with here.remote.actuator() as actuator:
                await actuator.write(command("speed", 2.5))
            assert await written(here.slave) == 1

    asyncio.run(run())


def test_a_cell_that_goes_on_does_what_it_was_told_once_and_not_when_it_is_too_late(tmp_path: Path) -> None:
    require("modbus-slave")

    async def frozen(here: Hall, actuator: Actuator, told: Command, seconds: float) -> None:
        os.kill(here.pid, signal.SIGSTOP)
        asyncio.get_running_loop().call_later(seconds, os.kill, here.pid, signal.SIGCONT)
        await actuator.write(told)

    async def run() -> None:
        async with hall(tmp_path) as here, here.remote.actuator() as actuator:
            await frozen(here, actuator, command("speed", 1.5, seconds=60.0), 0.5)
            assert await written(here.slave) == 1
            with pytest.raises(Unavailable, match="too late; nothing was sent"):
                await frozen(here, actuator, command("speed", 2.5, seconds=0.5), 1.0)
            stopped = Command("1", "speed", 3.5, Deadline.after(60.0), lambda: "press is stopped" if over else "")
            over: list[bool] = []
            asyncio.get_running_loop().call_later(0.3, over.append, True)
            with pytest.raises(Unavailable, match="press is stopped; nothing was sent"):
                await frozen(here, actuator, stopped, 1.0)
            await asyncio.sleep(0.5)
            assert await written(here.slave) == 1
            await actuator.write(command("speed", 4.5))
            assert (await actuator.read("speed", Deadline.after(10.0))).value == 4.5
            assert await written(here.slave) == 2

    asyncio.run(run())


CELLS = "cells: { hall: { connections: plc, stall_seconds: 2 } }\n"


async def write(here: House, value: str) -> tuple[str, str]:
    """How it ended, and why."""
    asked = {"tag": "oven/setpoint", "value": value, "unit": "degC", "rule": "R-1"}
    told = await ask(here.folder / "s", "write", asked)
    return told["standing"], told["reason"]


async def cells_of(here: House) -> dict[str, Any]:
    """As the status has them."""
    async with ClientSession() as client, client.get(f"http://127.0.0.1:{here.port}/status") as answer:
        found: dict[str, Any] = (await answer.json())["cells"]
        return found


async def leave_the_cell(here: House) -> None:
    """The plant file has no cells any more, and the gateway has taken that in."""
    plant = here.folder / "plant.yaml"
    plant.write_text(plant.read_text(encoding="utf-8").replace(CELLS, ""), encoding="utf-8")
    async with asyncio.timeout(60):
        while "what acts stays where it is until the next start" not in (here.folder / "log").read_text():  # noqa: ASYNC110  a file tells nobody
            await asyncio.sleep(0.1)


def speaks_to(pid: int, port: int) -> bool:
    """Whether the process has a connection to that port of this machine."""
    wanted = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[2] == f"{socket.htonl(0x7F000001):08X}:{port:04X}":
            wanted.add(f"socket:[{fields[9]}]")
    return any(_target(file) in wanted for file in Path(f"/proc/{pid}/fd").iterdir())


def _target(file: Path) -> str:
    try:
        return str(file.readlink())
    except FileNotFoundError:
        return ""  # closed in between


def test_a_person_writes_through_a_cell_which_alone_speaks_to_the_machine_and_stops_it_by_its_name(
    tmp_path: Path,
) -> None:
    require("modbus-slave")

    async def play() -> None:
        async with house(tmp_path, CELLS) as here:
            code, said = await here.type("check", "plant.yaml")
            assert code == 0, said
            async with here.gateway() as gateway:
                await ask(here.folder / "s", "arm", {"reason": "go"})
                assert await write(here, "50.0") == ("done", "")
                cell = (await cells_of(here))["hall"]
                assert speaks_to(cell["pid"], here.slave.port)
                assert not speaks_to(gateway.pid, here.slave.port)
                os.kill(cell["pid"], signal.SIGKILL)
                async with asyncio.timeout(60):
                    while await write(here, "51.0") != ("done", ""):  # noqa: ASYNC110  refused until the next is there
                        await asyncio.sleep(0.1)
                assert (await cells_of(here))["hall"]["pid"] != cell["pid"]
                assert await here.slave.get(1, 10, 1) == [510]
                await ask(here.folder / "s", "stop", {"name": "hall", "reason": "smoke"})
                standing, reason = await write(here, "52.0")
                assert (standing, "hall is stopped by p-1: smoke" in reason) == ("denied", True)
                await ask(here.folder / "s", "arm", {"name": "hall", "reason": "out"})
                assert await write(here, "52.0") == ("done", "")
                assert (await here.slave.count(1)).written == 3
                await leave_the_cell(here)
                there = (await cells_of(here))["hall"]["pid"]
                assert await write(here, "53.0") == ("done", "")
                assert speaks_to(there, here.slave.port), "what acts stays where it is until the next start"
            async with here.gateway():
                assert await write(here, "54.0") == ("done", "")
                assert await here.slave.get(1, 10, 1) == [540]
                assert await cells_of(here) == {}

    asyncio.run(play())
