"""Where a journey ends: a broker that can be killed, what of a plant file writes to it, and what has arrived there."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from plantgate.sdk import iso
from tests.integration.journey.ledger import Arrived
from tests.peers.kafka import Kafka, kafka
from tests.peers.mosquitto import Mosquitto, mosquitto
from tests.peers.recorder import Recorder, recorder
from tests.peers.sparkplug_recording import Recording


class End(Protocol):
    """One of the places a row can arrive at."""

    once: bool
    """Whether each sample is there once, as the connector's README promises; else a repeat has its old number."""

    def connection(self) -> str:
        """The connection `broker` of the plant file."""
        ...

    async def kill(self) -> None:
        """SIGKILL of the broker."""
        ...

    async def start(self) -> None:
        """The same broker again."""
        ...

    async def arrived(self) -> Arrived:
        """All that is there now."""
        ...


MQTT: Final = """\
  broker:
    type: mqtt
    host: {host}
    port: {port}
    publish: {{ topic: journey/samples, gaps_topic: journey/gaps, acknowledge_seconds: 5 }}
"""


@dataclass
class MqttEnd:
    """Mosquitto, and a client of its own that writes down what comes."""

    once = False

    broker: Mosquitto
    recorded: Recorder

    def connection(self) -> str:
        return MQTT.format(host=self.broker.host, port=self.broker.port)

    async def kill(self) -> None:
        await self.recorded.caught_up()
        await self.broker.kill()

    async def start(self) -> None:
        await self.broker.start()

    async def arrived(self) -> Arrived:
        messages = await self.recorded.caught_up()
        return Arrived(
            samples=[json.loads(message.payload) for message in messages if message.topic == "journey/samples"],
            gaps=_gaps(message.payload for message in messages if message.topic == "journey/gaps"),
        )


@asynccontextmanager
async def mqtt_end(folder: Path) -> AsyncIterator[MqttEnd]:
    async with (
        mosquitto(folder=folder / "broker") as broker,
        recorder(broker, "journey/#", folder=folder) as recorded,
    ):
        yield MqttEnd(broker, recorded)


SPARKPLUG: Final = """\
  broker:
    type: sparkplug
    host: {host}
    port: {port}
    publish: {{ group: journey, edge_node: gateway, acknowledge_seconds: 5 }}
"""


@dataclass
class SparkplugEnd:
    """Mosquitto again; the messages are Sparkplug's, read back by protobuf."""

    once = False

    broker: Mosquitto
    recorded: Recorder

    def connection(self) -> str:
        return SPARKPLUG.format(host=self.broker.host, port=self.broker.port)

    async def kill(self) -> None:
        await self.recorded.caught_up()
        await self.broker.kill()

    async def start(self) -> None:
        await self.broker.start()

    async def arrived(self) -> Arrived:
        recording = Recording()
        samples: list[dict[str, Any]] = []
        for message in await self.recorded.caught_up():
            for row in recording.take(message.topic, message.payload):
                sample = {"tag": row.tag, "value": row.value, "code": row.code, "time": iso(row.time)}
                samples.append({"origin": row.origin, "position": row.number, "samples": [sample]})
        births = f"{recording.births} births, {recording.deaths} deaths"
        return Arrived(samples, list(recording.gaps), [births, *recording.objections[:20]])


@asynccontextmanager
async def sparkplug_end(folder: Path) -> AsyncIterator[SparkplugEnd]:
    # Sparkplug's data is QoS 0: without the second setting the broker keeps none of it for a subscriber that is away.
    settings = ("max_inflight_messages 0", "queue_qos0_messages true")
    async with (
        mosquitto(folder=folder / "broker", settings=settings) as broker,
        recorder(broker, "spBv1.0/#", folder=folder) as recorded,
    ):
        yield SparkplugEnd(broker, recorded)


KAFKA: Final = """\
  broker:
    type: kafka
    servers: ["{bootstrap}"]
    publish: {{ topic: journey }}
"""


@dataclass
class KafkaEnd:
    """Apache Kafka; the topic itself is what has arrived."""

    once = True

    broker: Kafka

    def connection(self) -> str:
        return KAFKA.format(bootstrap=self.broker.bootstrap)

    async def kill(self) -> None:
        await self.broker.kill()

    async def start(self) -> None:
        await self.broker.start()

    async def arrived(self) -> Arrived:
        found = Arrived([], [])
        for record in await self.broker.records("journey"):
            assert record.value is not None
            document = json.loads(record.value)
            if "tag" in document:
                found.samples.append(
                    {"origin": document["origin"], "position": document["position"], "samples": [document]}
                )
            elif document["gap"] not in found.gaps:
                found.gaps.append(document["gap"])
        return found


@asynccontextmanager
async def kafka_end(folder: Path) -> AsyncIterator[KafkaEnd]:
    async with kafka(folder=folder / "kafka") as broker:
        # The readings are of 2016, and a topic forgets by the time on its records.
        await broker.create_topic("journey", 3, {"retention.ms": "-1"})
        yield KafkaEnd(broker)


def _gaps(payloads: Any) -> list[dict[str, Any]]:
    """A gap message that was sent twice is the same bytes twice."""
    return [gap for payload in dict.fromkeys(payloads) for gap in json.loads(payload)["gaps"]]


Opening = Callable[[Path], AbstractAsyncContextManager[End]]
ENDS: Final[dict[str, Opening]] = {
    "mqtt": mqtt_end,
    "kafka": kafka_end,
    "sparkplug": sparkplug_end,
}
"""By the word behind `--to`."""
