"""Commands for a device that is away while Mosquitto keeps its session: what is wanted comes, what is late does not."""

import asyncio
import time
from pathlib import Path

import pytest

from plantgate_connectors.mqtt import Mqtt
from tests.integration.test_mqtt_acting import OVEN, command, connector, shows
from tests.integration.test_mqtt_mosquitto import VERSIONS, run
from tests.peers.mosquitto import Mosquitto, mosquitto
from tests.peers.mqtt_device import mqtt_device

pytestmark = pytest.mark.integration


def test_a_command_whose_deadline_has_passed_is_not_given_to_a_device_that_comes_back(tmp_path: Path) -> None:
    """Five deadlines, whole seconds and not: the device comes back at that very moment, and finds nothing.

    All begin early in a second of the broker's clock: it counts whole ones, so these it would keep longest.
    """

    async def one(broker: Mosquitto, number: int, seconds: float) -> None:
        async with mqtt_device(broker, f"oven{number}", 20.0) as device:
            await device.leave()
            state = {"topic": device.name, "payload": "json"}
            oven = {"tag": device.name, "topic": f"{device.name}/set", "state": state}
            ours = connector(tmp_path / device.name, broker, oven)
            await asyncio.sleep((0.1 - time.time()) % 1)
            async with ours.actuator() as actuator:
                asked = command(60.0, device.name, seconds)
                await actuator.write(asked)
                await asyncio.sleep(asked.deadline.left())
                await device.come()
                await actuator.write(command(30.0, device.name))
                await device.commanded()
            assert device.commands() == [30.0], f"a deadline of {seconds} s"

    async def body() -> None:
        async with mosquitto(folder=tmp_path / "broker") as broker, asyncio.TaskGroup() as group:
            for number, seconds in enumerate((2.0, 2.5, 3.0, 3.7, 5.0)):
                group.create_task(one(broker, number, seconds))

    run(body())


@pytest.mark.parametrize(("version", "seconds"), [("5", 30.0), ("3.1.1", 2.0)])
def test_a_command_that_is_still_wanted_waits_and_in_311_also_one_that_is_not(
    tmp_path: Path, version: str, seconds: float
) -> None:
    """What shows that the test above sees something: without an expiry it comes, however late. `check` warns of it."""

    async def body() -> None:
        async with mosquitto(folder=tmp_path / "broker") as broker, mqtt_device(broker, "oven", 20.0) as device:
            await device.leave()
            ours = connector(tmp_path / "c", broker, OVEN, version=version)
            async with ours.actuator() as actuator:
                await actuator.write(command(60.0, seconds=seconds))
                await asyncio.sleep(2.5)
                await device.come()
                await device.commanded()
            assert device.commands() == [60.0]
            warned = any("never expires" in remark for remark in Mqtt.remarks(ours.settings))
            assert warned is (version == "3.1.1")

    run(body())


@VERSIONS
def test_nothing_waits_for_a_device_that_listens_with_qos_0(tmp_path: Path, version: str) -> None:
    """What the README advises."""

    async def body() -> None:
        async with (
            mosquitto(folder=tmp_path / "broker") as broker,
            mqtt_device(broker, "oven", 20.0, version_5=version == "5", qos=0) as device,
            connector(tmp_path / "c", broker, OVEN, version=version).actuator() as actuator,
        ):
            await actuator.write(command(30.0))
            await shows(actuator, 30.0)
            await device.leave()
            await actuator.write(command(60.0, seconds=60.0))
            await device.come()
            await actuator.write(command(31.0))
            await shows(actuator, 31.0)
            assert device.commands() == [30.0, 31.0]

    run(body())
