"""What the tests of the UR connector start from."""

import asyncio
import json
from pathlib import Path
from typing import Any

from plantgate.sdk import Batch, Source, Unavailable
from plantgate.testing.context import RecordedLog
from plantgate.testing.contract import lent
from plantgate_connectors.ur import Ur, UrSettings

HOST = "robot"
OFFSET = "line3/robot/offset"
SPEED = "line3/robot/speed"
POSE = {"field": "actual_TCP_pose", "tag": "pose"}
OFFSET_WRITE = {
    "tag": OFFSET,
    "registers": [f"input_double_register_{number}" for number in (24, 25, 26)],
    "confirm": [f"output_double_register_{number}" for number in (24, 25, 26)],
    "limits": [[-0.01, 0.01], [-0.01, 0.01], [-0.1, 0.1]],
    "mailbox": {
        "until": "input_int_register_24",
        "epoch": "input_int_register_25",
        "sequence": "input_int_register_26",
        "echo": "output_int_register_24",
        "echo_epoch": "output_int_register_25",
        "verdict": "output_int_register_26",
        "clock": "output_int_register_27",
    },
}
"""Wider limits than the program's own, so that both can be seen at work."""
SPEED_WRITE = {
    "tag": SPEED,
    "registers": ["input_double_register_30"],
    "confirm": ["output_double_register_30"],
    "limits": [[0, 2]],
}


def settings(**written: Any) -> UrSettings:
    """As from a plant file; one field unless said otherwise."""
    whole = {"host": HOST, "outputs": [POSE], "connect_seconds": 2, "silence_seconds": 1, **written}
    return UrSettings.model_validate_json(json.dumps(whole))


def ur(folder: Path, **written: Any) -> Ur:
    """A connector that keeps its things in `folder`."""
    return Ur(settings(**written), lent(folder, connection="robot"))


def writer(folder: Path, **written: Any) -> Ur:
    """One that writes an offset through a mailbox, and a speed without one."""
    return ur(folder, **{"writes": [OFFSET_WRITE, SPEED_WRITE], **written})


def lines(connector: Ur) -> list[tuple[str, str, dict[str, object]]]:
    """What it has logged."""
    log = connector.context.log
    assert isinstance(log, RecordedLog)
    return log.lines


async def collect(source: Source, samples: int) -> Batch:
    """Read and acknowledge until that many samples have come."""
    found = Batch.empty()
    while len(found) < samples:
        batch = await source.read()
        found.extend(batch)
        await source.ack(batch.cursor)
    return found


async def to_the_end(source: Source) -> tuple[Batch, str]:
    """All that comes until the session is over, and why it is."""
    found = Batch.empty()
    try:
        while True:
            batch = await source.read()
            found.extend(batch)
            await source.ack(batch.cursor)
    except Unavailable as away:
        return found, str(away)


async def watched(source: Source, seconds: float) -> Batch:
    """All that comes in a while."""
    found = Batch.empty()
    try:
        async with asyncio.timeout(seconds):
            while True:
                batch = await source.read()
                found.extend(batch)
                await source.ack(batch.cursor)
    except TimeoutError:
        return found


def of(batch: Batch, tag: str) -> list[tuple[object, int]]:
    """Value and quality of each of its samples."""
    return [(sample.value, sample.quality) for sample in batch if sample.tag == tag]
