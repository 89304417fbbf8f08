"""Many commands through Mosquitto while it is killed and frozen, the line cut, and the device comes and goes."""

import asyncio
import dataclasses
import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from plantgate.sdk import Command, Deadline, GatewayError, OutcomeUnknown
from plantgate_connectors.mqtt import Mqtt
from tests.integration.test_mqtt_acting import connector, field
from tests.integration.test_mqtt_mosquitto import run
from tests.peers.mosquitto import Mosquitto, mosquitto
from tests.peers.mqtt_device import Heard, MqttDevice, mqtt_device
from tests.peers.proxy import Proxy, proxy

pytestmark = pytest.mark.integration

COMMANDS = 12


@dataclass
class Seen:
    """What was asked, and what was said of it."""

    deadlines: dict[float, float] = dataclasses.field(default_factory=dict)
    verdicts: dict[float, GatewayError | None] = dataclasses.field(default_factory=dict)

    def late(self, device: MqttDevice) -> list[float]:
        """Values that came to the device after their deadline."""
        return [value for value, heard in _values(device).items() if heard.at > self.deadlines[value]]

    def untrue(self, device: MqttDevice) -> list[float]:
        """Said not to have been sent, and the device has it."""
        certain = {value for value, verdict in self.verdicts.items() if not isinstance(verdict, OutcomeUnknown | None)}
        return [value for value in _values(device) if value in certain]


def _values(device: MqttDevice) -> dict[float, Heard]:
    return {heard.payload["v"]: heard for heard in device.heard}


def test_nothing_is_done_twice_or_late_and_no_verdict_is_untrue(tmp_path: Path) -> None:
    """A device that listens with QoS 1 may be given the same once more by the broker, which then says so.

    What a broker reads late, because it was frozen, only the device can tell from what is still wanted.
    """

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            for qos in (0, 1):
                group.create_task(_drive(tmp_path / f"qos{qos}", qos, random.Random(f"trouble/{qos}")))

    run(both(), seconds=180.0)


async def _drive(folder: Path, qos: int, luck: random.Random) -> None:
    seen = Seen()
    async with (
        mosquitto(folder=folder / "broker") as broker,
        mqtt_device(broker, "oven", {"v": 0.0}, qos=qos) as device,
        proxy(broker.host, broker.port) as between,
    ):
        way = {"host": between.host, "port": between.port, "connect_seconds": 1}
        ours = connector(folder / "c", broker, field("v", until="/until", confirm_seconds=0.5), **way)
        for number in range(1, COMMANDS + 1):
            trouble = asyncio.create_task(_trouble(number % 6, broker, between, device, luck))
            deadline = Deadline.after(luck.uniform(2.1, 3.5))
            seen.deadlines[float(number)] = deadline.at
            seen.verdicts[float(number)] = await _write(ours, Command("c", "v", float(number), deadline), luck)
            await trouble
        await asyncio.sleep(4.0)
        unmarked = [heard.payload["v"] for heard in device.heard if qos == 0 or not heard.repeated]
        assert len(unmarked) == len(set(unmarked)), "done twice"
        assert seen.late(device) == []
        assert seen.untrue(device) == []
        assert len(device.commands()) >= COMMANDS / 6
        assert any(isinstance(verdict, OutcomeUnknown) for verdict in seen.verdicts.values())


async def _write(ours: Mqtt, command: Command, luck: random.Random) -> GatewayError | None:
    try:
        async with ours.actuator() as actuator:
            await asyncio.sleep(luck.uniform(0.0, 0.1))
            await actuator.write(command)
    except GatewayError as verdict:
        return verdict
    return None


async def _trouble(kind: int, broker: Mosquitto, between: Proxy, device: MqttDevice, luck: random.Random) -> None:
    """Some time around the command; all is well again after it."""
    await asyncio.sleep(luck.uniform(0.0, 0.1))
    match kind:
        case 1:
            between.lose_answers()
        case 2:
            between.cut()
        case 3:
            broker.child.freeze()
            await asyncio.sleep(luck.uniform(0.0, 0.3))
            await broker.kill()
        case 4:
            await device.stop()
        case 5:
            broker.child.freeze()
        case _:
            pass
    await asyncio.sleep(luck.choice((0.3, 0.6, 4.0)))
    match kind:
        case 3:
            await broker.start()
        case 4:
            await device.come()
        case 5:
            broker.child.thaw()
        case _:
            between.mend()
    await asyncio.sleep(1.0)  # for the device to find its way back
