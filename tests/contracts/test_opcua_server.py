"""The OPC UA server under the contract that every sink is held to.

Its far end is a client: one that watches every tag from the moment there is one, as a monitored item with room does.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plantgate.sdk import Connector, Sample, Unavailable
from plantgate.testing.contract import SinkContract, lent
from plantgate.testing.simloop import running
from plantgate_connectors.opcua_server import OpcUaServer, OpcUaServerSettings, values
from plantgate_connectors.opcua_server.space import Slot
from tests.connectors.opcua_server.serving import started_before


@dataclass
class Watching:
    """Hears every reading of every tag, in its order, as the bytes that a client would be sent."""

    heard: list[tuple[str, object, bytes]] = field(default_factory=list)

    def met(self, slot: Slot) -> None:
        """A new tag: watch it."""
        slot.watchers.append(self)

    def offer(self, slot: Slot, renewed: bool, retimed: bool) -> None:
        """A new reading."""
        self.heard.append((slot.name, slot.value, slot.encoded))


@asynccontextmanager
async def watching() -> AsyncIterator[Watching]:
    """A watcher."""
    yield Watching()


def nanoseconds(ticks: int) -> int | None:
    return (ticks - values.EPOCH_TICKS) * 100 if ticks else None


class TestOpcUaServer(SinkContract[Watching]):
    """Nobody is dialled: clients come to us, and what a bad network does to them is theirs to repair."""

    def device(self) -> Any:
        return watching()

    def connector(self, device: Watching, tmp_path: Path) -> Connector[Any]:
        written = {"host": "gateway", "security": {"policies": ["None"]}, "login": {"anonymous": True}}
        settings, context = OpcUaServerSettings.model_validate_json(json.dumps(written)), lent(tmp_path)
        started_before(settings, context)
        connector = OpcUaServer(settings, context)
        connector.space.met = device.met
        return connector

    async def arrived(self, device: Watching) -> Sequence[Sample]:
        there = []
        for name, value, encoded in device.heard:
            body, status, source, _ = values.parts(encoded)
            shown = values.data_value(body, 0, 0, 0)
            assert shown[1:-8] == body
            there.append(Sample(name, value, status, nanoseconds(source)))  # type: ignore[arg-type]  # as it was given
        return there

    async def test_cancelling_leaves_a_sink_that_can_be_opened_again(self, tmp_path: Path, seed: object) -> None:
        """In a pump's order, each batch until it is accepted: an older one after a newer would move a display back."""
        luck = random.Random(f"{seed}/cancel")
        async with self.device() as device:
            connector = self.connector(device, tmp_path)
            for position in range(0, 40, 4):
                accepted = False
                while not accepted:
                    started = running().elapsed
                    try:
                        async with asyncio.timeout(luck.choice((0.0, 0.001, 0.003, 0.01, 0.1))):
                            async with connector.sink() as sink:
                                await sink.accept(self.batch(position))
                                accepted = True
                    except (TimeoutError, Unavailable):
                        pass
                    assert running().elapsed - started < 30.0, "a cancelled sink took its time"
            assert [sample.value for sample in await self.arrived(device)] == [float(number) for number in range(40)]
