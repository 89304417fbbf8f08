"""The telemetry journey to an MQTT broker: the real connector, paho and all, against our broker twin (rung 2b).

The broker crashes, loses replies and drops clients; its host is cut off, stalls and refuses. What it had before it
acknowledged is what has arrived.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from plantgate.sdk import Batch, Gap, Sink
from plantgate.store.limits import Limits, WhenFull
from plantgate.testing.context import lent
from plantgate.testing.mqtt_broker import Broker
from plantgate.testing.mqtt_fields import Reason
from plantgate.testing.mqtt_packets import Message
from plantgate.testing.simloop import running
from plantgate_connectors.mqtt import Mqtt, MqttSettings
from tests.journeys.plant import FarEnd
from tests.journeys.telemetry import travel
from tests.journeys.test_telemetry import ROOMY, TIGHT, holds

SETTINGS = {
    "host": "broker",
    "keep_alive_seconds": 5,
    "publish": {"format": "columns", "time": "nanoseconds", "acknowledge_seconds": 10},
}


class MqttEnd(FarEnd):
    """A far end behind a broker; what the broker has accepted has arrived."""

    def __init__(self, broker: Broker, folder: Path, version: str) -> None:
        super().__init__("broker", running().random("broker"))
        self.broker, self.folder = broker, folder
        self.settings = MqttSettings.model_validate_json(json.dumps({**SETTINGS, "version": version}))
        broker.received = self._arrived
        broker.answer = self._answer

    def session(self) -> AbstractAsyncContextManager[Sink]:
        return Mqtt(self.settings, lent(self.folder, connection="broker")).sink()

    async def disturb(self) -> None:
        """One fault after the other, while there is to be trouble."""
        network = running().network
        while self.trouble:
            await asyncio.sleep(self.luck.expovariate(0.3))
            fault = self.luck.choice(("crash", "cut", "hold", "refuse", "reset", "drop"))
            if fault == "crash":
                await self.broker.crash(keep=True)
            elif fault == "drop":
                self.broker.drop_connections()
            else:
                getattr(network, fault)("broker")
            await asyncio.sleep(self.luck.uniform(0.0, 15.0))
            network.heal("broker")
            if fault == "crash":
                await self.broker.listen("broker", 1883)

    def _answer(self, message: Message) -> int | None:
        fate = self.luck.random() if self.trouble else 1.0
        return None if fate < 0.05 else Reason.QUOTA_EXCEEDED if fate < 0.08 else Reason.SUCCESS

    def _arrived(self, message: Message) -> None:
        said = json.loads(message.payload)
        if message.topic == "plantgate/gaps":
            gaps = tuple(Gap(**{**gap, "tags": tuple(gap["tags"])}) for gap in said["gaps"])
            batch = Batch.empty(gaps=gaps)
        else:
            batch = Batch(said["tags"], said["values"], said["qualities"], said["times"])
        batch.origin, batch.position = said["origin"], said["position"]
        self.got.append(batch)


@asynccontextmanager
async def broker_in_trouble(folder: Path, version: str) -> AsyncIterator[MqttEnd]:
    async with Broker() as broker:
        await broker.listen("broker", 1883)
        end = MqttEnd(broker, folder, version)
        disturbing = asyncio.create_task(end.disturb())
        yield end
        end.trouble = False
        await disturbing


@pytest.mark.parametrize("version", ["5", "3.1.1"])
@pytest.mark.simulated(seeds=8)
async def test_nothing_is_lost_after_acceptance(version: str, tmp_path: Path) -> None:
    async with broker_in_trouble(tmp_path, version) as end:
        holds(await travel(limits=ROOMY, far_ends=[end]))


@pytest.mark.simulated(seeds=4)
async def test_what_was_lost_is_named_with_the_right_count(tmp_path: Path) -> None:
    async with broker_in_trouble(tmp_path, "5") as end:
        limits: Limits = replace(TIGHT, when_full=WhenFull.DROP_OLDEST)
        holds(await travel(limits=limits, readings=300, capacity=20, far_ends=[end]))
