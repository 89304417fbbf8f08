"""The Kafka connector under the contracts that every connector is held to."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from plantgate.sdk import Connector, Sample
from plantgate.testing.contract import SinkContract, SourceContract
from tests.connectors.kafka.given import kafka
from tests.connectors.kafka.twin import Twin, twin

_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class TestKafkaSink(SinkContract[Twin]):
    """A record a value."""

    host = "broker"
    publish: ClassVar[dict[str, Any]] = {}

    def device(self) -> Any:
        return _with_topic()

    def connector(self, device: Twin, tmp_path: Path) -> Connector[Any]:
        return kafka(tmp_path, "broker:9092", publish={"topic": "plant", **self.publish}, request_seconds=5)

    async def arrived(self, device: Twin) -> Sequence[Sample]:
        numbered: list[tuple[int, int, Sample]] = []
        for arrival, record in enumerate(device.records("plant")):
            document = json.loads(record.value)
            if "gap" not in document:
                numbered += ((arrival, *sample) for sample in _samples(document))
        if self._once_each(numbered):
            numbered.sort(key=lambda sample: sample[1])  # partitions have no order among them
        return [sample for _, _, sample in numbered]

    def _once_each(self, numbered: list[tuple[int, int, Sample]]) -> bool:
        return len({number for _, number, _ in numbered}) == len(numbered)

    def is_the_devices(self, task: "asyncio.Task[Any]") -> bool:
        return "Twin.serve" in repr(task)


class TestKafkaSinkByTag(TestKafkaSink):
    """A record a tag, times as numbers, packed."""

    publish: ClassVar[dict[str, Any]] = {"each": "tag", "time": "nanoseconds", "compression": "gzip"}


class TestKafkaSinkByBatch(TestKafkaSink):
    """A record a batch, with headers."""

    publish: ClassVar[dict[str, Any]] = {"each": "batch", "headers": "type"}


class TestKafkaSource(SourceContract[Twin]):
    """JSON records with time and quality, keyed by tag."""

    host = "broker"

    def device(self) -> Any:
        return _with_topic()

    def connector(self, device: Twin, tmp_path: Path) -> Connector[Any]:
        subscribe = {
            "topic": "plant",
            "payload": "json",
            "value": "/v",
            "time": "/t",
            "time_unit": "ns",
            "quality": "/q",
        }
        return kafka(tmp_path, "broker:9092", group="g", subscribe=[subscribe], request_seconds=5)

    async def produce(self, device: Twin, samples: Sequence[Sample]) -> None:
        for sample in samples:
            while device.unread("plant") > 500:  # noqa: ASYNC110  no event there
                await asyncio.sleep(0.1)  # a topic that keeps all for ever would be the memory that is measured
            value = json.dumps({"v": sample.value, "q": sample.quality, "t": sample.time}).encode()
            device.put("plant", value, key=sample.tag.encode(), partition=self.tags.index(sample.tag))

    def is_the_devices(self, task: "asyncio.Task[Any]") -> bool:
        return "Twin.serve" in repr(task)


@asynccontextmanager
async def _with_topic() -> AsyncIterator[Twin]:
    async with twin() as broker:
        broker.make("plant", 3)
        yield broker


def _samples(document: dict[str, Any]) -> list[tuple[int, Sample]]:
    if "position" in document:
        columns = [[document[name]] for name in ("position", "tag", "value", "code", "time")]
    else:
        count = len(document["positions"])
        tags = document.get("tags") or [document["tag"]] * count
        columns = [document["positions"], tags, document["values"], document["qualities"], document["times"]]
    return [
        (position, Sample(tag, value, quality, _time(time)))
        for position, tag, value, quality, time in zip(*columns, strict=True)
    ]


def _time(written: str | int | None) -> int | None:
    if not isinstance(written, str):
        return written
    whole, fraction = written.removesuffix("Z").split(".")
    return int((datetime.fromisoformat(whole + "+00:00") - _EPOCH).total_seconds()) * 10**9 + int(fraction)
