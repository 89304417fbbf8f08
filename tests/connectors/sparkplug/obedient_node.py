"""An edge node that does what it is commanded: a twin of ours, played by hand with Google's protobuf."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plantgate.sdk import Actuator, Command, Deadline, Severity, severity
from plantgate.testing.mqtt_packets import Message
from plantgate_connectors.sparkplug import Sparkplug
from tests.connectors.sparkplug.fake_node import INT64, FakeNode, put
from tests.connectors.sparkplug.given import Twin, sparkplug, twin
from tests.peers.sparkplug_proto import Payload

Where = tuple[str | None, str]
"""Device and metric."""
SPEED: Where = ("press", "speed")
OTHER: Where = ("press", "other")
OWN: Where = (None, "mode")


@dataclass
class ObedientNode(FakeNode):
    """Knows metrics by name and by alias, does each command it gets, and reports it."""

    done: list[tuple[Where, Any]] = field(default_factory=list)
    """Every write it has done, in order."""
    read_only: bool = False
    """Announces every metric so, and does no command."""
    quiet: bool = False
    """From the next command on it says nothing more: no report, no birth."""
    mute: bool = False
    report: Callable[["ObedientNode", Where, Any], None] | None = None
    """Said instead of the report."""
    asked: int = 0
    """How often it was asked for births."""

    @property
    def prefix(self) -> str:
        """Of its topics, but for the kind."""
        return f"spBv1.0/{self.group}/"

    def listen(self) -> None:
        """Take commands from now on."""
        before = self.broker.received

        def heard(message: Any) -> None:
            if before is not None:
                before(message)
            levels = message.topic.split("/")
            if levels[:2] == ["spBv1.0", self.group] and levels[2] in ("NCMD", "DCMD") and levels[3] == self.edge_node:
                self.command(levels[4] if len(levels) == 5 else None, Payload.FromString(message.payload))

        self.broker.received = heard

    def command(self, device: str | None, payload: Any) -> None:
        """NCMD or DCMD."""
        for metric in payload.metrics:
            if device is None and metric.name == "Node Control/Rebirth":
                self.asked += 1
                if not self.mute:
                    self.birth()
                continue
            where = (device, metric.name) if metric.name else self._by_alias(device, metric.alias)
            if where in self.metrics and not self.read_only:
                self._do(where, getattr(metric, metric.WhichOneof("value")))

    def _by_alias(self, device: str | None, alias: int) -> Where:
        for (home, name), (known, _, _) in self.metrics.items():
            if known == alias and home == device:
                return home, name
        return device, ""

    def _do(self, where: Where, value: Any) -> None:
        self.done.append((where, value))
        self.set(where, value)
        self.mute = self.mute or self.quiet
        if self.mute:
            return
        if self.report is not None:
            self.report(self, where, value)
        else:
            self.data((where[1], value), device=where[0])

    def set(self, where: Where, value: Any) -> None:
        """What it has from now on, without a word."""
        alias, datatype, _ = self.metrics[where]
        self.metrics[where] = (alias, datatype, value)

    def change(self, where: Where, value: Any) -> None:
        """Somebody at the machine gives it another value: reported by exception."""
        self.set(where, value)
        if not self.mute:
            self.data((where[1], value), device=where[0])

    def announce(self, payload: Any, device: str | None) -> None:
        super().announce(payload, device)
        if self.read_only:
            for metric in payload.metrics:
                metric.properties.keys.append("readOnly")
                metric.properties.values.add(type=11, boolean_value=True)

    def say(self, where: Where, value: Any, **marks: Any) -> None:
        """A report of any kind: `historical`, `bad`, `alias`, `null`."""
        payload = self.payload()
        alias, datatype, _ = self.metrics[where]
        metric = payload.metrics.add(alias=marks.get("alias", alias), timestamp=1_767_225_600_000)
        put(metric, datatype, None if marks.get("null") else value)
        if marks.get("historical"):
            metric.is_historical = True
        if marks.get("bad"):
            metric.properties.keys.append("Quality")
            metric.properties.values.add(type=INT64 - 1, int_value=0)
        self.send("NDATA" if where[0] is None else "DDATA", payload, where[0])


@dataclass
class Machine:
    """A broker, and the edge node behind it."""

    twin: Twin
    node: ObedientNode


@asynccontextmanager
async def machine(*wheres: Where) -> AsyncIterator[Machine]:
    """Edge node `plant/line` with these metrics, Double, all 0.5; it was born before anybody listened."""
    async with twin() as device:
        node = ObedientNode(device.broker)
        for home, name in wheres:
            node.has(name, device=home, value=0.5)
        node.listen()
        node.birth()
        yield Machine(device, node)


def commanding(folder: Path, *wheres: Where, each: dict[str, Any] | None = None, **written: Any) -> Sparkplug:
    """A connector that may write to these metrics of edge node `plant/line`."""
    commands = written.pop("commands", {})
    metrics = [
        {"tag": f"{home}/{name}" if home else name, "group": "plant", "edge_node": "line", "metric": name}
        | ({"device": home} if home else {})
        | (each or {})
        for home, name in wheres
    ]
    subscribe = {"host_id": "scada", "tag": "{device}/{metric}", "node_tag": "{metric}"}
    return sparkplug(folder, subscribe=subscribe, commands={"metrics": metrics, **commands}, **written)


def command(tag: str, value: Any, seconds: float = 10.0, **more: Any) -> Command:
    return Command("intent-1", tag, value, Deadline.after(seconds), **more)


def commands(device: Twin) -> list[Message]:
    """Those that came to the broker, requests for births left out."""
    return [m for m in device.came if m.topic.split("/")[2] in ("NCMD", "DCMD") and b"Rebirth" not in m.payload]


async def reads(actuator: Actuator, tag: str, seconds: float = 10.0) -> object:
    sample = await actuator.read(tag, Deadline.after(seconds))
    assert severity(sample.quality) is Severity.GOOD
    return sample.value
