"""The Modbus connector under the contract of devices that cannot repeat themselves."""

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from plantgate.sdk import Connector, Sample, Setpoint
from plantgate.sdk.quality import GOOD
from plantgate.testing.contract import ActuatorContract, LiveSourceContract, lent
from plantgate_connectors.modbus import Modbus, ModbusSettings
from tests.connectors.modbus.twin import Question, Twin, twin

HOST = "plc"
_SERVER_FAILURE = 4
_ILLEGAL_ADDRESS = 2


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
        enough = device.times_asked[unit] + 2
        while device.times_asked[unit] < enough:
            await device.asking.wait()


class TestModbusRtuOverTcp(TestModbusTcp):
    """The same behind a serial-to-network converter."""

    patience_seconds = 900.0
    written: ClassVar[dict[str, Any]] = {"framing": "rtu_over_tcp"}


class TestModbusWithoutTransactionIds(TestModbusTcp):
    """A device that is not trusted to repeat the transaction id."""

    written: ClassVar[dict[str, Any]] = {"transaction_id": "ignored"}


class TestModbusTcpWrites(ActuatorContract[Twin]):
    """Two numbers of four registers each, in a unit that counts what is written."""

    host = HOST
    written_settings: ClassVar[dict[str, Any]] = {}

    def device(self) -> Any:
        return twin(HOST, rtu=self.written_settings.get("framing") == "rtu_over_tcp")

    def connector(self, device: Twin, tmp_path: Path) -> Connector[Any]:
        tags = [{"tag": tag, "address": 10 * n, "type": "float64", "order": "CDAB"} for n, tag in enumerate(self.tags)]
        settings = {"host": HOST, "devices": [{"name": "press", "unit": 1, "tags": tags}], **self.written_settings}
        return Modbus(ModbusSettings.model_validate_json(json.dumps(settings)), lent(tmp_path))

    def written(self, device: Twin, tag: str) -> Sequence[Setpoint]:
        address = 10 * self.tags.index(tag)
        return [_double(question.data) for question in device.written if question.address == address]

    def change(self, device: Twin, tag: str, value: Setpoint) -> None:
        device.set(1, 10 * self.tags.index(tag), *reversed(struct.unpack(">4H", struct.pack(">d", value))))

    def refuse(self, device: Twin) -> None:
        device.refused |= {(1, 16, 10 * n): _ILLEGAL_ADDRESS for n in range(len(self.tags))}

    def silence(self, device: Twin) -> None:
        device.reply = lambda question, pdu: [] if question.data else [device.frame(question, pdu)]

    def lies(self) -> Sequence[Callable[[Twin], None]]:
        def other(change: Callable[[Question, bytes], tuple[Question, bytes]]) -> Callable[[Twin], None]:
            def lie(device: Twin) -> None:
                device.reply = lambda question, pdu: [
                    device.frame(*(change(question, pdu) if question.data else (question, pdu)))
                ]

            return lie

        return [
            other(lambda question, pdu: (replace(question, unit=2), pdu)),
            other(lambda question, pdu: (question, b"\x06" + pdu[1:])),
            other(lambda question, pdu: (question, pdu[:2] + bytes((pdu[2] ^ 1,)) + pdu[3:])),
            other(lambda question, pdu: (question, pdu[:-1] + bytes((pdu[-1] - 1,)))),
            other(lambda question, pdu: (question, pdu + b"\0")),
            other(lambda question, pdu: (question, pdu[:-1])),
            other(lambda question, pdu: (question, bytes((question.function | 0x80, _SERVER_FAILURE)))),
        ]


def _double(data: bytes) -> float:
    """In the order CDAB: the words swapped."""
    (value,) = struct.unpack(">d", struct.pack(">4H", *reversed(struct.unpack(">4H", data))))
    assert isinstance(value, float)
    return value


class TestModbusRtuOverTcpWrites(TestModbusTcpWrites):
    """The same behind a serial-to-network converter."""

    written_settings: ClassVar[dict[str, Any]] = {"framing": "rtu_over_tcp"}


class TestModbusWritesWithoutTransactionIds(TestModbusTcpWrites):
    """A device that is not trusted to repeat the transaction id."""

    written_settings: ClassVar[dict[str, Any]] = {"transaction_id": "ignored"}
