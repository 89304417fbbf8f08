"""What the tests of the MQTT connector start from."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from plantgate.sdk import Batch, Context, Source, Standing, SystemClock
from plantgate.testing.mqtt_broker import Broker
from plantgate_connectors.mqtt import Mqtt, MqttSettings

HOST = "broker"
T0 = 1_767_225_600_000_000_000
"""2026-01-01T00:00:00Z."""


class Log:
    """Remembers what was logged."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, dict[str, object]]] = []

    def info(self, event: str, **facts: object) -> None:
        self.said.append(("info", event, facts))

    def warning(self, event: str, **facts: object) -> None:
        self.said.append(("warning", event, facts))

    def error(self, event: str, **facts: object) -> None:
        self.said.append(("error", event, facts))


def settings(**written: Any) -> MqttSettings:
    """As from a plant file."""
    return MqttSettings.model_validate_json(json.dumps({"host": HOST, "port": 1883, **written}))


def context(folder: Path, name: str = "broker") -> Context:
    """A connection's context with a log that remembers."""
    folder.mkdir(parents=True, exist_ok=True)
    log = Log()
    return Context(name, folder, folder, SystemClock(), log, Standing(log))


def mqtt(folder: Path, **written: Any) -> Mqtt:
    """A connector that keeps its things in `folder`."""
    return Mqtt(settings(**written), context(folder))


def batch(*values: object, tag: str = "line/t", position: int = 0) -> Batch:
    """One sample a second."""
    count = len(values)
    times: list[int | None] = [T0 + (position + index) * 1_000_000_000 for index in range(count)]
    return Batch([tag] * count, list(values), [0] * count, times, origin="outbox", position=position)  # type: ignore[arg-type]  # values as a test writes them


async def read_values(source: Source, count: int, *, ack: bool = True) -> list[object]:
    """Read until that many samples have come."""
    found: list[object] = []
    while len(found) < count:
        async with asyncio.timeout(600):
            got = await source.read()
        found += got.values
        if ack:
            await source.ack(got.cursor)
    return found


async def with_broker(body: Callable[[Broker], Awaitable[None]], **options: Any) -> None:
    """Run `body` beside a broker twin that listens on the simulated network."""
    async with Broker(**options) as broker:
        await broker.listen(HOST, 1883)
        await body(broker)


async def eventually(true: Callable[[], bool], seconds: float = 60.0) -> None:
    """Until it is so, in simulated time."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110  what it waits for is the state of a twin, which has no event
            await asyncio.sleep(0.01)
