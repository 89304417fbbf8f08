"""The files connector under the contracts that every connector is held to."""

import asyncio
import csv
import json
from abc import abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import pytest

from plantgate.sdk import Connector, Sample, iso
from plantgate.sdk.quality import GOOD
from plantgate.testing.contract import SinkContract, SourceContract, lent
from plantgate_connectors.files import Files, FilesSettings
from plantgate_connectors.files.cells import labelled, native, quality_of
from plantgate_connectors.files.settings import DecimalMark
from plantgate_connectors.files.times import time_reader


@dataclass
class Logger:
    """A program that writes rows to a file, and begins another after some rows."""

    rows_per_file: int
    folder: Path = field(default_factory=Path)
    written: int = 0

    file: TextIO | None = None

    def write(self, sample: Sample) -> None:
        if self.file is None or self.written % self.rows_per_file == 0:
            self.close()
            self.file = (self.folder / f"log-{self.written // self.rows_per_file:06d}.csv").open("w")
            self.file.write("time,tag,value,quality\n")
        self.file.write(f"{iso(sample.time)},{sample.tag},{sample.value!r},0x{sample.quality:08X}\n")
        self.file.flush()
        self.written += 1

    def close(self) -> None:
        if self.file is not None:
            self.file.close()


class TestFilesSource(SourceContract[Logger]):
    """A long CSV file that grows."""

    rows_per_file = 10**9

    @asynccontextmanager
    async def device(self) -> AsyncIterator[Logger]:
        logger = Logger(self.rows_per_file)
        try:
            yield logger
        finally:
            logger.close()

    def connector(self, device: Logger, tmp_path: Path) -> Connector[FilesSettings]:
        device.folder = tmp_path / "in"
        device.folder.mkdir(exist_ok=True)
        read = {
            "path": device.folder / "log-*.csv",
            "layout": "long",
            "follow": True,
            "kind": "number",
            "batch_rows": 7,
        }
        return Files(FilesSettings.model_validate({"read": read}, strict=False), lent(tmp_path))

    async def produce(self, device: Logger, samples: Sequence[Sample]) -> None:
        for sample in samples:
            device.write(sample)
            if device.written % 5 == 0:
                await asyncio.sleep(0.01)


class TestFilesSourceOfManyFiles(TestFilesSource):
    """A new file every dozen rows."""

    rows_per_file = 12


class _Sink(SinkContract[Path]):
    form = ""
    pattern = ""

    @pytest.fixture(autouse=True)
    def _out(self, tmp_path: Path) -> None:
        self._folder = tmp_path / "out"

    @asynccontextmanager
    async def device(self) -> AsyncIterator[Path]:
        yield self._folder

    def connector(self, device: Path, tmp_path: Path) -> Connector[FilesSettings]:
        write = {"folder": device, "format": self.form, "file_bytes_max": 2000}
        return Files(FilesSettings.model_validate({"write": write}, strict=False), lent(tmp_path))

    async def arrived(self, device: Path) -> Sequence[Sample]:
        return list(self.written(device))

    @abstractmethod
    def written(self, folder: Path) -> Iterator[Sample]: ...


class TestFilesSinkJsonLines(_Sink):
    """JSON lines, in files of two kilobytes."""

    form = "json_lines"

    def written(self, folder: Path) -> Iterator[Sample]:
        for file in sorted(folder.glob("plantgate-*.jsonl")):
            for row in map(json.loads, file.read_text(encoding="utf-8").split("\n")[:-1]):
                if "gap" not in row:
                    yield _sample(row["tag"], row["value"], row.get("kind", ""), row["quality"], row["time"])


class TestFilesSinkCsv(_Sink):
    """CSV, in files of two kilobytes."""

    form = "csv"

    def written(self, folder: Path) -> Iterator[Sample]:
        for file in sorted(folder.glob("plantgate-*.csv")):
            with file.open(newline="", encoding="utf-8") as opened:
                for row in csv.DictReader(opened):
                    yield _sample(row["tag"], row["value"], row["kind"], row["quality"], row["time"] or None)


def _sample(tag: str, value: object, kind: str, quality: str, time: str | None) -> Sample:
    if kind == "none":
        value = None
    elif kind:
        value = labelled(value, kind, DecimalMark.POINT)
    moment = None if time is None else time_reader("iso", "UTC")(time).time
    return Sample(tag, native(value) if not isinstance(value, bytes) else value, quality_of(quality) or GOOD, moment)
