"""What the tests of the Modbus connector start from."""

import json
from pathlib import Path
from typing import Any

from plantgate.sdk import Batch, Source
from plantgate.testing.contract import lent
from plantgate_connectors.modbus import Modbus, ModbusSettings
from tests.connectors.modbus.twin import Twin

HOST = "plc"


def settings(**written: Any) -> ModbusSettings:
    """As from a plant file; one device `press` with one tag `t` at holding 0 unless said otherwise."""
    device = {"name": "press", "unit": 1, "tags": [{"tag": "t", "address": 0}]}
    whole = {"host": HOST, "devices": [device], "poll_interval_ms": 100, "timeout_ms": 500, **written}
    if whole.get("framing") == "rtu":
        del whole["host"]
    return ModbusSettings.model_validate_json(json.dumps(whole))


def modbus(folder: Path, **written: Any) -> Modbus:
    """A connector that keeps its things in `folder`."""
    return Modbus(settings(**written), lent(folder, connection="line"))


def device(name: str, unit: int, *tags: dict[str, Any], **written: Any) -> dict[str, Any]:
    """A device as it is written."""
    return {"name": name, "unit": unit, "tags": list(tags), **written}


def tag(name: str, address: int, **written: Any) -> dict[str, Any]:
    """A tag as it is written."""
    return {"tag": name, "address": address, **written}


def counters(connector: Modbus) -> dict[str, int]:
    """What it has counted."""
    return connector.context.standing.counters


async def collect(source: Source, samples: int) -> Batch:
    """Read and acknowledge until that many samples have come."""
    found = Batch.empty()
    while len(found) < samples:
        batch = await source.read()
        found.extend(batch)
        await source.ack(batch.cursor)
    return found


def count_up(twin: Twin, unit: int = 1, address: int = 0) -> None:
    """From now on the register is one higher at each question."""
    number = 0
    right = twin.pdu

    def pdu(question: Any) -> bytes:
        nonlocal number
        if question.unit == unit:
            number += 1
            twin.set(unit, address, number, function=question.function)
        return right(question)

    twin.pdu = pdu  # type: ignore[method-assign]  # of this one
