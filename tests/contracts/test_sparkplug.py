"""The Sparkplug connector under the contracts that every connector is held to."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from plantgate.sdk import Connector, Sample
from plantgate.testing.contract import LiveSourceContract, SinkContract
from tests.connectors.sparkplug.fake_node import FakeNode
from tests.connectors.sparkplug.given import HOST, Twin, edge_node, sparkplug, twin


class TestSparkplugSink(SinkContract[Twin]):
    """An edge node, MQTT 5."""

    host = HOST
    version = "5"
    publish: ClassVar[dict[str, Any]] = {}

    def device(self) -> Any:
        return twin()

    def connector(self, device: Twin, tmp_path: Path) -> Connector[Any]:
        return edge_node(tmp_path, version=self.version, publish=self.publish)

    async def arrived(self, device: Twin) -> Sequence[Sample]:
        return device.samples()


class TestSparkplugSinkIn311(TestSparkplugSink):
    """The same in MQTT 3.1.1, every tag the edge node's own, types repeated."""

    version = "3.1.1"
    publish: ClassVar[dict[str, Any]] = {"device_levels": 0, "datatypes": True}


@dataclass
class Plant:
    """A broker with another's edge node, for which our host application is the primary one."""

    twin: Twin
    node: FakeNode


@asynccontextmanager
async def plant(tags: Sequence[str]) -> AsyncIterator[Plant]:
    """One edge node `plant/line`, its tags on devices."""
    async with twin(buffer_bytes_max=64 * 1024) as device:
        node = FakeNode(device.broker)
        for tag in tags:
            head, _, name = tag.partition("/")
            node.has(name, device=head)
        node.obey()
        node.birth()
        yield Plant(device, node)


class TestSparkplugSource(LiveSourceContract[Plant]):
    """A host application, MQTT 5."""

    host = HOST
    version = "5"

    def device(self) -> Any:
        return plant(self.tags)

    def connector(self, device: Plant, tmp_path: Path) -> Connector[Any]:
        subscribe = {"host_id": "scada", "tag": "{device}/{metric}", "node_tag": "{metric}"}
        return sparkplug(tmp_path, version=self.version, subscribe=subscribe, buffer_bytes_max="64KiB")

    async def produce(self, device: Plant, samples: Sequence[Sample]) -> None:
        for sample in samples:
            head, _, name = sample.tag.partition("/")
            device.node.sample(sample, head, name)
            await asyncio.sleep(0)


class TestSparkplugSourceIn311(TestSparkplugSource):
    """The same in MQTT 3.1.1."""

    version = "3.1.1"
