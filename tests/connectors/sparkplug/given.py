"""What the tests of the Sparkplug connector start from."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plantgate.sdk import Sample
from plantgate.testing.contract import lent
from plantgate.testing.mqtt_broker import Broker
from plantgate.testing.mqtt_packets import Message
from plantgate_connectors.sparkplug import Sparkplug, SparkplugSettings
from tests.peers.sparkplug_recording import Recording, Row

HOST = "broker"


@dataclass
class Twin:
    """A broker, and what it was given."""

    broker: Broker
    came: list[Message] = field(default_factory=list)

    def kinds(self) -> list[str]:
        """`NBIRTH`, `DDATA press1`, … in order of arrival; confirmations left out."""
        found = []
        for message in self.came:
            levels = message.topic.split("/")
            if levels[0] == "spBv1.0":
                found.append(" ".join((levels[2], *levels[4:])) if levels[1] != "STATE" else "STATE")
        return found

    def rows(self) -> list[Row]:
        """What a careful host application makes of it."""
        recording = Recording()
        rows = [row for message in self.came for row in recording.take(message.topic, message.payload)]
        assert recording.objections == []
        return rows

    def samples(self) -> Sequence[Sample]:
        """The same as samples."""
        return [Sample(row.tag, row.value, row.code, row.time) for row in self.rows()]


@asynccontextmanager
async def twin(**options: Any) -> AsyncIterator[Twin]:
    """A broker twin on the simulated network."""
    async with Broker(**options) as broker:
        device = Twin(broker)
        broker.received = device.came.append
        await broker.listen(HOST, 1883)
        yield device


def sparkplug(folder: Path, **written: Any) -> Sparkplug:
    """A connector for it, as from a plant file."""
    settings = {"host": HOST, "port": 1883, "keep_alive_seconds": 10, **written}
    return Sparkplug(SparkplugSettings.model_validate_json(json.dumps(settings)), lent(folder))


def edge_node(folder: Path, *, publish: dict[str, Any] | None = None, **written: Any) -> Sparkplug:
    """An edge node `plant/line`."""
    return sparkplug(folder, publish={"group": "plant", "edge_node": "line", **(publish or {})}, **written)
