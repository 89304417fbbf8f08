"""What Sparkplug costs: writing and reading data messages, with Google's protobuf library (upb) alone beside it.

scripts/bench sparkplug [--values 1000] [--rounds 5] [--json FILE]

Ours does the whole: from a batch to the payload (types looked after, aliases, properties, numbers), and from a payload
to tags, values, qualities and times (order and announcements looked after). protobuf alone only fills and reads its
message objects.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.meter import machine, median
from benchmarks.table import Row, save, show
from plantgate.sdk import Batch, Context, Gap, Standing, SystemClock
from plantgate_connectors.sparkplug import Sparkplug, SparkplugSettings
from plantgate_connectors.sparkplug.announced import Names
from plantgate_connectors.sparkplug.catalog import Catalog
from plantgate_connectors.sparkplug.messages import Known, Messages
from plantgate_connectors.sparkplug.remote import Letter, Remote
from plantgate_connectors.sparkplug.samples import Samples
from plantgate_connectors.sparkplug.settings import Publish
from plantgate_connectors.sparkplug.topics import Kind
from tests.peers.mosquitto import Mosquitto, mosquitto
from tests.peers.sparkplug_proto import Payload

START = 1_795_694_400_000_000_000


def batches(values: int) -> dict[str, Batch]:
    """What is written and read."""
    tags = [f"press/hall{index % 7}/temperature{index}" for index in range(values)]
    floats: list[Any] = [index * 0.7234567 for index in range(values)]
    mixed: list[Any] = [(index * 0.7, index, index % 3 == 0, "running")[index % 4] for index in range(values)]
    fine = [0] * values
    bad = [0 if index % 10 else 0x8031_0000 for index in range(values)]
    polled: list[int | None] = [START] * values
    exact: list[int | None] = [START + index * 997_300 for index in range(values)]
    return {
        "floats of one poll": Batch(tags, floats, fine, polled, origin="telemetry", position=1_000_000),
        "floats, times to 100 ns": Batch(tags, floats, fine, exact, origin="telemetry", position=1_000_000),
        "floats, whole and yes/no, text": Batch(tags, mixed, fine, polled, origin="telemetry", position=1_000_000),
        "floats, one in ten bad": Batch(tags, floats, bad, polled, origin="telemetry", position=1_000_000),
    }


class Edge:
    """Our writing half, without a broker."""

    def __init__(self, folder: Path, batch: Batch) -> None:
        publish = Publish(edge_node="line")
        self.batch = batch
        self.known = Known(Catalog(folder, publish.device_levels), origin=batch.origin)
        self.messages = Messages(publish, "bench", self.known, 0, version_5=True)
        self.known.catalog.learn(batch)

    def births(self) -> list[tuple[Kind, str | None, bytes]]:
        """NBIRTH and DBIRTHs."""
        return [
            (kind, None if kind is Kind.NBIRTH else "press", message.payload)
            for kind, message in zip((Kind.NBIRTH, Kind.DBIRTH), self.messages.births(START), strict=False)
        ]

    def write(self) -> bytes:
        """One batch."""
        self.known.catalog.learn(self.batch)
        messages = list(self.messages.data(self.batch, [], START, historical=False))
        self.known.catalog.taken(self.batch)
        return messages[-1].payload


class Host:
    """Our reading half, without a broker."""

    def __init__(self) -> None:
        self.names = Names("{device}/{metric}", "{metric}")
        self.samples = Samples(lambda tag, reason: None)
        self.batch = Batch.empty()
        self.remote = Remote("plant", "line", self, lambda: None, lambda: None, 2.0)

    def take(self, mid: int, size: int) -> Batch:
        """One batch for all."""
        return self.batch

    def gap(self, gap: Gap) -> None:
        """There should be none."""
        raise AssertionError(gap)

    def count(self, name: str, by: int = 1) -> None:
        """Counted elsewhere."""

    def now(self) -> float:
        """No time passes."""
        return 0.0

    def read(self, letter: Letter) -> Batch:
        """One message, as if it came for the first time."""
        self.batch = Batch.empty()
        self.remote._order.next = 2  # noqa: SLF001  the same message again and again
        self.remote._relayed.forget()  # noqa: SLF001
        self.remote.hear(letter)
        return self.batch


FIELDS = {float: "double_value", bool: "boolean_value", int: "long_value", str: "string_value"}


def protobuf_writes(batch: Batch) -> bytes:
    """The obvious way: a message object for each sample. Qualities and exact times are left out."""
    payload = Payload(timestamp=START // 1_000_000, seq=1)
    add = payload.metrics.add
    alias = 128
    for value, at in zip(batch.values, batch.times, strict=True):
        metric = add()
        metric.alias = alias
        metric.timestamp = (at or 0) // 1_000_000
        setattr(metric, FIELDS[type(value)], value)
        alias += 1
    return bytes(payload.SerializeToString())


def protobuf_writes_floats(batch: Batch) -> bytes:
    """The same where all are known to be floats."""
    payload = Payload(timestamp=START // 1_000_000, seq=1)
    add = payload.metrics.add
    alias = 128
    for value, at in zip(batch.values, batch.times, strict=True):
        metric = add()
        metric.alias = alias
        metric.timestamp = (at or 0) // 1_000_000
        metric.double_value = value
        alias += 1
    return bytes(payload.SerializeToString())


def protobuf_reads(body: bytes, tags: dict[int, str]) -> tuple[list[Any], ...]:
    """The obvious way to columns: tag, value, quality, time."""
    found: tuple[list[Any], ...] = ([], [], [], [])
    for metric in Payload.FromString(body).metrics:
        if not metric.alias:
            continue
        found[0].append(tags[metric.alias])
        kind = metric.WhichOneof("value")
        found[1].append(None if kind is None else getattr(metric, kind))
        quality, time_ns = 0, metric.timestamp * 1_000_000
        if metric.HasField("properties"):
            for key, value in zip(metric.properties.keys, metric.properties.values, strict=True):
                if key == "StatusCode":
                    quality = value.long_value
                elif key == "ns":
                    time_ns += value.int_value
        found[2].append(quality)
        found[3].append(time_ns)
    return found


def coding(values: int, rounds: int) -> list[Row]:
    """CPU ns a metric."""
    rows: list[Row] = []
    for name, batch in batches(values).items():
        with tempfile.TemporaryDirectory() as folder:
            edge, host = Edge(Path(folder), batch), Host()
            for kind, device, body in edge.births():
                host.remote.hear(Letter(kind, device, body, 0))
            written = edge.write()
            letter = Letter(Kind.DDATA, "press", written, 0)
            read = host.read(letter)
            assert (read.tags, read.values, read.qualities, read.times) == (
                batch.tags,
                batch.values,
                batch.qualities,
                batch.times,
            )
            tags = {128 + index: tag for index, tag in enumerate(batch.tags)}
            all_floats = set(map(type, batch.values)) == {float}
            plain = protobuf_writes_floats if all_floats else protobuf_writes
            ways: dict[str, Callable[[], object]] = {
                "plantgate writes, ns": edge.write,
                "protobuf writes, ns": partial(plain, batch),
                "plantgate reads, ns": partial(host.read, letter),
                "protobuf reads, ns": partial(protobuf_reads, written, tags),
            }
            rows.append({"batch": name, "bytes a metric": len(written) / values, **best(ways, rounds, values)})
    return rows


def best(ways: dict[str, Callable[[], object]], rounds: int, values: int) -> dict[str, float]:
    """CPU ns a value: the median of the best of each round; in turns, so that a busy moment meets them all."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        fastest = dict.fromkeys(ways, float("inf"))
        for _ in range(20):
            for name, work in ways.items():
                began = time.process_time_ns()
                work()
                fastest[name] = min(fastest[name], time.process_time_ns() - began)
        for name, nanoseconds in fastest.items():
            found[name].append(nanoseconds / values)
    return {name: median(each) for name, each in found.items()}


class _Silent:
    def info(self, event: str, **facts: object) -> None:
        """Not said."""

    def warning(self, event: str, **facts: object) -> None:
        """Not said."""

    def error(self, event: str, **facts: object) -> None:
        """Not said."""


async def sending(values: int, rounds: int) -> list[Row]:
    """Batches through Mosquitto, each confirmed: CPU of this process and batches a second."""
    rows: list[Row] = []
    async with mosquitto() as broker:
        for name, batch in batches(values).items():
            with tempfile.TemporaryDirectory() as folder:
                rows.append(await _send(broker, Path(folder), name, batch, rounds))
    return rows


async def _send(broker: Mosquitto, folder: Path, name: str, batch: Batch, rounds: int) -> Row:
    written = {"host": broker.host, "port": broker.port, "publish": {"group": "bench", "edge_node": "line"}}
    log = _Silent()
    context = Context("bench", folder, folder, SystemClock(), log, Standing(log))
    connector = Sparkplug(SparkplugSettings.model_validate_json(json.dumps(written)), context)
    cpu, rates = [], []
    async with connector.sink() as sink:
        for _ in range(20):
            await sink.accept(batch)
        for _ in range(rounds):
            began, at = time.process_time_ns(), time.monotonic()
            for number in range(50):
                batch.position = 1_000_000 + number * len(batch)
                await sink.accept(batch)
            cpu.append((time.process_time_ns() - began) / 50 / len(batch))
            rates.append(50 / (time.monotonic() - at))
    return {"batch": name, "CPU ns a metric": median(cpu), "batches a second": median(rates)}


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--values", type=int, default=1000, help="values in a batch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    written = parser.parse_args()
    print(machine())
    coded = coding(written.values, written.rounds)
    show(f"Data messages of {written.values} metrics", coded)
    sent = asyncio.run(sending(written.values, written.rounds))
    show(f"Batches of {written.values} metrics through Mosquitto, each confirmed", sent)
    save(written.json, "sparkplug", machine(), [*coded, *sent])


if __name__ == "__main__":
    main()
