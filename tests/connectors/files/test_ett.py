"""A real transformer's readings, in and out again."""

import csv
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from plantgate.sdk.quality import GOOD
from tests.connectors.files.given import files, read_all, samples, write_all

COLUMNS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")


def test_the_transformer_file_arrives_whole_and_equal(tmp_path: Path) -> None:
    source = Path(os.environ.get("PLANTGATE_DATA", "../shared/data")) / "ett" / "ETTh1.csv"
    if not source.exists():
        message = f"there is no {source}; set PLANTGATE_DATA to the folder with ett/ETTh1.csv"
        if os.environ.get("PLANTGATE_REQUIRE_PEERS") == "1":
            pytest.fail(message)
        pytest.skip(message)
    read = {"path": source, "time_column": "date", "prefix": "ett/"}
    batches = read_all(files(tmp_path, read=read))
    got = samples(batches)
    position = 0
    for batch in batches:
        batch.origin, batch.position = "box", position
        position += len(batch)
    write_all(files(tmp_path / "out", write={"folder": tmp_path / "out"}), batches)
    back = samples(read_all(files(tmp_path / "back", read={"path": tmp_path / "out" / "*.jsonl"})))

    with source.open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = [(f"ett/{name}", float(row[name]), GOOD, _nanoseconds(row["date"])) for row in rows for name in COLUMNS]
    assert len(rows) == 17420
    assert [(s.tag, s.value, s.quality, s.time) for s in got] == expected
    assert back == got


def _nanoseconds(text: str) -> int:
    return int(datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()) * 10**9
