"""The source keeps the contract every source is held to, against a simulated controller."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from plantgate.sdk import Sample
from plantgate.testing.contract import SourceContract, lent
from plantgate.testing.simloop import running
from plantgate_connectors.opcua import OpcUa
from tests.connectors.opcua.plant_given import settings
from tests.connectors.opcua.plc import NAMESPACE, URL, Plc, plc

TAGS = ("line1/a", "line1/b", "line1/c")


@pytest.mark.simulated(seeds=2)
class TestOpcUaSource(SourceContract[Plc]):
    """With asyncua's server, whose address space takes a second of CPU to build: few seeds here, more at night."""

    host = "plc"
    tags = TAGS
    repeats_current_value = True
    stalled_samples = 2_000
    stalled_bytes_max = 12_000_000  # our bound is 8 MiB of messages; asyncua's server keeps 500 of them besides

    def device(self) -> AbstractAsyncContextManager[Plc]:
        return plc(TAGS)

    def connector(self, device: Plc, tmp_path: Path) -> OpcUa:
        chosen = settings(
            URL,
            security={"policy": "None"},
            publishing_interval_ms=100,
            sampling_interval_ms=0,
            queue_size=1000,
            keepalive_seconds=2,
            request_timeout_seconds=5,
            connect_timeout_seconds=5,
            trigger="status_value_timestamp",
            tags=[{"node": f"nsu={NAMESPACE};s={tag}", "tag": tag} for tag in TAGS],
        )
        return OpcUa(chosen, lent(tmp_path))

    async def produce(self, device: Plc, samples: Sequence[Sample]) -> None:
        for sample in samples:
            await device.show(sample)
            await asyncio.sleep(0.01)

    def is_the_devices(self, task: "asyncio.Task[object]") -> bool:
        """A session that was left standing, to be picked up, lives on at the server until its timeout."""
        return "asyncua/server" in str(task)

    async def test_closing_leaves_no_task_or_socket(self, tmp_path: Path) -> None:
        """The subscription stays at the server on purpose, and with it the server's own tasks."""
        async with self.device() as device:
            connector = self.connector(device, tmp_path)
            for _ in range(3):
                async with connector.source() as source:
                    await device.show(self.sample(TAGS[0], 1))
                    await source.read()
            await asyncio.sleep(10.0)
            left = [task for task in running().unfinished() if not self.is_the_devices(task)]
            assert left == [asyncio.current_task()]
            assert running().network.connections(self.host) == 0
