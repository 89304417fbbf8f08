"""The source keeps the contract every source is held to, against a simulated controller."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from plantgate.sdk import Sample
from plantgate.testing.contract import SourceContract, lent
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
