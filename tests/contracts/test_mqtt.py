"""The MQTT connector under the contracts that every connector is held to."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from plantgate.sdk import Batch, Connector, Sample, Scalar, Setpoint
from plantgate.sdk.quality import GOOD
from plantgate.testing.contract import ActuatorContract, SinkContract, SourceContract, lent
from plantgate.testing.mqtt_broker import Broker
from plantgate.testing.mqtt_fields import NO_ANSWER, Property, Reason
from plantgate.testing.mqtt_packets import Message
from plantgate_connectors.mqtt import Mqtt, MqttSettings
from plantgate_connectors.mqtt.relay import read_batch
from tests.connectors.mqtt.obeying import Device, commands, device

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


class TestMqttCommands(ActuatorContract[Device]):
    """Two numbers of a twin device; the broker's word is all that comes, and the device reports when it is asked."""

    host = HOST
    version = "5"
    answer: ClassVar[dict[str, Any] | None] = None
    more: ClassVar[dict[str, Any]] = {}

    def device(self) -> Any:
        return device(*self.tags)

    def connector(self, device: Device, tmp_path: Path) -> Connector[Any]:
        tmp_path.mkdir(exist_ok=True)
        written = commands(*self.tags, answer=self.answer, **self.more)
        return mqtt(tmp_path, {"version": self.version, "commands": written})

    def written(self, device: Device, tag: str) -> Sequence[Setpoint]:
        return device.written[tag]

    def change(self, device: Device, tag: str, value: Setpoint) -> None:
        device.has[tag] = value

    def refuse(self, device: Device) -> None:
        device.broker.answer = lambda message: Reason.NOT_AUTHORIZED

    def silence(self, device: Device) -> None:
        device.is_never_heard_of_again()

    def lies(self) -> Sequence[Callable[[Device], None]]:
        def says(packet: bytes) -> Callable[[Device], None]:
            def lie(device: Device) -> None:
                def answer(message: Message) -> int:
                    for connection in device.broker.connections:
                        connection._writer.write(packet)
                    return NO_ANSWER

                device.broker.answer = answer

            return lie

        def code(reason: int) -> Callable[[Device], None]:
            def lie(device: Device) -> None:
                device.broker.answer = lambda message: reason

            return lie

        return [
            says(b"\x40\x02\x00\x01"),  # another message is confirmed
            says(b"\x40\x02\x7f\xff"),
            says(b"\x40\x03\x00\x01\x10"),
            says(b"\x50\x02\x80\x00"),  # PUBREC: confirms a message of QoS 2
            says(b"\x70\x02\x80\x00"),  # PUBCOMP
            code(0x01),
            code(0x91),
            code(0xFF),
        ]


class TestMqttCommandsWithAnswers(TestMqttCommands):
    """The device answers each command, by Response Topic and Correlation Data."""

    answer: ClassVar[dict[str, Any] | None] = {}

    def refuse(self, device: Device) -> None:
        device.takes = False

    def silence(self, device: Device) -> None:
        device.answer = lambda message, done: None

    def lies(self) -> Sequence[Callable[[Device], None]]:
        def says(words: Any, **more: Any) -> Callable[[Device], None]:
            def lie(device: Device) -> None:
                device.answer = lambda message, done: device.say(self.answers_at(message), words, **more)

            return lie

        def right(words: Any, *, retain: bool = False) -> Callable[[Device], None]:
            """With the right number, and still no answer."""

            def lie(device: Device) -> None:
                device.answer = lambda message, done: self.right(device, message, words, retain)

            return lie

        return [
            says({"ok": True}),
            says({"ok": True}, mark=b"another"),
            says({"ok": True, "id": "another"}),
            right({"ok": 1}),
            right({"ok": True, "reason": "too hot"}),
            right({"done": True}),
            right({"ok": True}, retain=True),
            right([]),
        ]

    def answers_at(self, message: Message) -> str:
        return str(message.properties[Property.RESPONSE_TOPIC])

    def right(self, device: Device, message: Message, words: Any, retain: bool) -> None:
        mark = message.properties[Property.CORRELATION_DATA]
        assert isinstance(mark, bytes)
        device.say(self.answers_at(message), words, mark, kept=retain)


class TestMqttCommandsWithNumberedAnswersIn311(TestMqttCommandsWithAnswers):
    """The same for a device that repeats a number of the command, in MQTT 3.1.1, with QoS 0."""

    version = "3.1.1"
    answer: ClassVar[dict[str, Any] | None] = {"topic": "answers", "id": "/id"}
    more: ClassVar[dict[str, Any]] = {"qos": 0}

    def answers_at(self, message: Message) -> str:
        return "answers"

    def right(self, device: Device, message: Message, words: Any, retain: bool) -> None:
        if isinstance(words, dict):
            words = {**words, "id": json.loads(message.payload)["id"]}
        device.say("answers", words, kept=retain)
