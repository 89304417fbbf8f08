import asyncio
import json
from pathlib import Path

from plantgate.flow.deadletter import DeadLetterFile, setting_aside
from plantgate.sdk import Batch, Rejected, Sample


def test_a_rejected_batch_is_in_the_file_and_told(tmp_path: Path) -> None:
    told: list[str] = []

    async def accept(batch: Batch) -> None:
        raise Rejected("broker: not authorised for this topic")

    path = tmp_path / "dead" / "letters.jsonl"
    batch = Batch.of([Sample("line3/a", 1.5, 0, 1_000_000_000), Sample("line3/b", b"\x01", 0x8000_0000, None)])
    batch.origin, batch.position = "box", 40
    both = setting_aside(accept, DeadLetterFile(path).accept, told=lambda batch, error: told.append(str(error)))
    asyncio.run(both(batch))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert told == ["broker: not authorised for this topic"]
    assert rows[0] == {
        "tag": "line3/a",
        "value": 1.5,
        "quality": "Good",
        "time": "1970-01-01T00:00:01Z",
        "origin": "box",
        "position": 40,
    }
    assert rows[1]["value"] == "01"
    assert rows[1]["quality"] == "Bad"
    assert rows[1]["time"] is None
