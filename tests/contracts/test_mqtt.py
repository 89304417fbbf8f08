"""The MQTT connector under the contracts that every connector is held to."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from plantgate.sdk import Batch, Connector, Sample, Scalar
from plantgate.sdk.quality import GOOD
from plantgate.testing.contract import SinkContract, SourceContract, lent
from plantgate.testing.mqtt_broker import Broker
from plantgate.testing.mqtt_packets import Message
from plantgate_connectors.mqtt import Mqtt, MqttSettings
from plantgate_connectors.mqtt.relay import read_batch

HOST = "broker"


@dataclass
class Twin:
    """A broker, and what it was given."""

    broker: Broker
    came: list[Message] = field(default_factory=list)


@asynccontextmanager
async def twin() -> AsyncIterator[Twin]:
    """A broker twin on the simulated network."""
    async with Broker() as broker:
        device = Twin(broker)
        broker.received = device.came.append
        await broker.listen(HOST, 1883)
        yield device


def mqtt(folder: Path, written: dict[str, Any]) -> Mqtt:
    """A connector for it, as from a plant file."""
    settings = {"host": HOST, "port": 1883, "keep_alive_seconds": 10, **written}
    return Mqtt(MqttSettings.model_validate_json(json.dumps(settings)), lent(folder))


class TestMqttSink(SinkContract[Twin]):
    """Batches as JSON, MQTT 5."""

    host = HOST
    written: ClassVar[dict[str, Any]] = {}

    def device(self) -> Any:
        return twin()

    def connector(self, device: Twin, tmp_path: Path) -> Connector[Any]:
        return mqtt(tmp_path, self.written)

    async def arrived(self, device: Twin) -> Sequence[Sample]:
        there = Batch.empty()
        for message in device.came:
            if message.topic != "plantgate/gaps":
                assert read_batch(there, message.topic, message.payload, GOOD, None)
        return list(there)


class TestMqttSinkIn311(TestMqttSink):
    """Batches as columns, MQTT 3.1.1."""

    written: ClassVar[dict[str, Any]] = {"version": "3.1.1", "publish": {"format": "columns", "time": "nanoseconds"}}


class TestMqttSinkValueByValue(TestMqttSink):
    """A message for each value, in CloudEvents."""

    written: ClassVar[dict[str, Any]] = {
        "publish": {"each": "value", "topic": "plant/{tag}", "format": "cloudevents", "in_flight": 3}
    }


class TestMqttSource(SourceContract[Twin]):
    """JSON messages with time and quality, MQTT 5."""

    host = HOST
    version = "5"

    def device(self) -> Any:
        return twin()

    def connector(self, device: Twin, tmp_path: Path) -> Connector[Any]:
        subscribe = {
            "topic": "plant/{tag#}",
            "tag": "{tag}",
            "payload": "json",
            "value": "/v",
            "time": "/t",
            "time_unit": "ns",
            "quality": "/q",
        }
        return mqtt(tmp_path, {"version": self.version, "subscribe": [subscribe]})

    async def produce(self, device: Twin, samples: Sequence[Sample]) -> None:
        broker = device.broker
        for sample in samples:
            while any(broker.waiting(client_id) > 500 for client_id in broker.client_ids()):  # noqa: ASYNC110  no event there
                await asyncio.sleep(0.1)  # a publisher that gives the broker no more than it can pass on
            value: Scalar = sample.value if isinstance(sample.value, int | float | str) else None
            payload = json.dumps({"v": value, "q": sample.quality, "t": sample.time})
            broker.publish(f"plant/{sample.tag}", payload.encode(), qos=1)


class TestMqttSourceIn311(TestMqttSource):
    """The same in MQTT 3.1.1."""

    version = "3.1.1"
