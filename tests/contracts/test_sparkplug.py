"""The Sparkplug connector under the contracts that every connector is held to."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from plantgate.sdk import Connector, Sample, Setpoint
from plantgate.testing.contract import ActuatorContract, LiveSourceContract, SinkContract
from tests.connectors.sparkplug.fake_node import FakeNode
from tests.connectors.sparkplug.given import HOST, Twin, edge_node, sparkplug, twin
from tests.connectors.sparkplug.obedient_node import Machine, Where, commanding, machine


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


class TestSparkplugCommands(ActuatorContract[Machine]):
    """Two metrics of a device, by alias, in MQTT 5; the edge node is a twin of ours."""

    host = HOST
    version = "5"
    wheres: ClassVar[tuple[Where, ...]] = (("line1", "a"), ("line1", "b"))
    each: ClassVar[dict[str, Any]] = {"by": "alias"}
    commands: ClassVar[dict[str, Any]] = {}

    def device(self) -> Any:
        return machine(*self.wheres)

    def connector(self, device: Machine, tmp_path: Path) -> Connector[Any]:
        tmp_path.mkdir(exist_ok=True)
        return commanding(tmp_path, *self.wheres, each=self.each, version=self.version, commands=self.commands)

    def written(self, device: Machine, tag: str) -> Sequence[Setpoint]:
        wanted = self.wheres[self.tags.index(tag)]
        return [value for where, value in device.node.done if where == wanted]

    def change(self, device: Machine, tag: str, value: Setpoint) -> None:
        device.node.change(self.wheres[self.tags.index(tag)], value)

    def refuse(self, device: Machine) -> None:
        """There is no other way to say no than to announce it so, or no longer."""
        device.node.read_only = True

    def silence(self, device: Machine) -> None:
        device.node.quiet = True

    def lies(self) -> Sequence[Callable[[Machine], None]]:
        one, other = self.wheres

        def lie(where: Where, *, by: float = 0.0, **marks: Any) -> Callable[[Machine], None]:
            def put(device: Machine) -> None:
                device.node.report = lambda node, _, value: (node.say(where, value + by, **marks), _hush(node))[0]

            return put

        return [
            lie(other),
            lie(one, by=0.25),
            lie(one, null=True),
            lie(one, bad=True),
            lie(one, historical=True),
            lie(one, alias=77),
        ]


def _hush(node: Any) -> None:
    """Nothing more, or the next birth would tell the truth."""
    node.mute = True


class TestSparkplugCommandsByName(TestSparkplugCommands):
    """Two metrics of the edge node itself, by name and with their type, in MQTT 3.1.1."""

    tags = ("a", "b")
    version = "3.1.1"
    wheres = ((None, "a"), (None, "b"))
    each: ClassVar[dict[str, Any]] = {"by": "name"}
    commands: ClassVar[dict[str, Any]] = {"datatypes": True}
