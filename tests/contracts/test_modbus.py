"""The Modbus connector under the contract of devices that cannot repeat themselves."""

import asyncio
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from plantgate.sdk import Connector, Sample
from plantgate.sdk.quality import GOOD
from plantgate.testing.contract import LiveSourceContract, lent
from plantgate_connectors.modbus import Modbus, ModbusSettings
from tests.connectors.modbus.twin import Twin, twin

HOST = "plc"
_SERVER_FAILURE = 4


class TestModbusTcp(LiveSourceContract[Twin]):
    """Three units behind one gateway, each with a clock of its own."""

    host = HOST
    patience_seconds = 300.0
    written: ClassVar[dict[str, Any]] = {"in_flight_max": 4}

    def device(self) -> Any:
        return twin(HOST, rtu=self.written.get("framing") == "rtu_over_tcp")

    def connector(self, device: Twin, tmp_path: Path) -> Connector[Any]:
        devices = [
            {"name": f"unit{unit}", "unit": unit, "tags": [{"tag": tag, "address": 10, "type": "float64"}]}
            for unit, tag in enumerate(self.tags, 1)
        ]
        settings = {
            "host": HOST,
            "poll_interval_ms": 500,
            "timeout_ms": 1000,
            "probe_seconds_max": 2,
            "buffer_samples_max": 100,
            "time": {"address": 0, "type": "uint64", "unit": "ms"},
            "devices": devices,
            **self.written,
        }
        return Modbus(ModbusSettings.model_validate_json(json.dumps(settings)), lent(tmp_path))

    async def produce(self, device: Twin, samples: Sequence[Sample]) -> None:
        for sample in samples:
            unit = self.tags.index(sample.tag) + 1
            assert isinstance(sample.value, float)
            assert sample.time is not None
            device.set(unit, 0, *struct.unpack(">4H", struct.pack(">Q", sample.time // 1_000_000)))
            device.set(unit, 10, *struct.unpack(">4H", struct.pack(">d", sample.value)))
            device.refused.pop((unit, 3, 10), None)
            if sample.quality != GOOD:
                device.refused[unit, 3, 10] = _SERVER_FAILURE
            await self._shown(device, unit)

    async def _shown(self, device: Twin, unit: int) -> None:
        """Until a question has been asked and answered since."""
        before = len(device.of(unit))
        while len(device.of(unit)) < before + 2:  # noqa: ASYNC110  the twin has no event for it
            await asyncio.sleep(0.02)


class TestModbusRtuOverTcp(TestModbusTcp):
    """The same behind a serial-to-network converter."""

    patience_seconds = 900.0
    written: ClassVar[dict[str, Any]] = {"framing": "rtu_over_tcp"}


class TestModbusWithoutTransactionIds(TestModbusTcp):
    """A device that is not trusted to repeat the transaction id."""

    written: ClassVar[dict[str, Any]] = {"transaction_id": "ignored"}
