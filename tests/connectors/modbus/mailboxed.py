"""A press whose PLC has a mailbox, for the tests of writing through it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from plantgate.sdk import Actuator, Command, Deadline, Setpoint
from plantgate_connectors.modbus import Modbus
from tests.connectors.modbus.given import HOST, device, modbus, tag
from tests.connectors.modbus.twin import twin
from tests.peers.plc_mailbox import ADDRESS, Plc

BELT, OVEN = "belt", "oven"
TAGS = [tag(BELT, 0, type="float64"), tag(OVEN, 4, type="float64")]
MAILBOX = {"address": ADDRESS, "tags": {BELT: 1, OVEN: 2}}
PRESS = device("press", 1, *TAGS, mailbox=MAILBOX)


def gateway(folder: Path, **written: Any) -> Modbus:
    return modbus(folder, devices=[{**PRESS, "mailbox": {**MAILBOX, **written}}])


@asynccontextmanager
async def plc(**written: Any) -> AsyncIterator[Plc]:
    async with twin(HOST) as device:
        yield Plc(device, **written)


def command(value: Setpoint, seconds: float = 1.0, name: str = BELT) -> Command:
    return Command("intent-1", name, value, Deadline.after(seconds))


def values(machine: Plc) -> list[float]:
    return [done.value for done in machine.applied]


async def reads(actuator: Actuator, name: str = BELT) -> object:
    return (await actuator.read(name, Deadline.after(2.0))).value
