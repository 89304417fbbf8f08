"""What Sparkplug costs: writing and reading data messages, with Google's protobuf library (upb) alone beside it.

scripts/bench sparkplug [--values 1000] [--rounds 5] [--json FILE]

Ten polls in turn, no two alike: their values differ, and some of their numbers and texts are longer than before.
Ours does the whole: from a batch to the payload (types looked after, aliases, properties, numbers), and from a payload
to tags, values, qualities and times (order and announcements looked after). protobuf alone only fills and reads its
message objects.
"""

import argparse
import asyncio
import json
import random
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
from plantgate_connectors.sparkplug.layouts import Layouts
from plantgate_connectors.sparkplug.messages import Known, Messages
from plantgate_connectors.sparkplug.remote import Letter, Remote
from plantgate_connectors.sparkplug.samples import Samples
from plantgate_connectors.sparkplug.settings import Publish
from plantgate_connectors.sparkplug.topics import Kind
from tests.peers.mosquitto import Mosquitto, mosquitto
from tests.peers.sparkplug_proto import Payload

START = 1_795_694_400_000_000_000
SECOND = 1_000_000_000
POLLS = 10
"""Of every kind; no two are alike, and after the last the first comes again."""
OTHERS = "mixed types, other tags each time"
STATES = ("running", "stopped", "starting", "fault 17: door open")


def batches(values: int) -> dict[str, list[Batch]]:
    """What is written and read: poll after poll of the same tags, and at last of others each time."""
    luck = random.Random("sparkplug")
    tags = [f"press/hall{index % 7}/temperature{index}" for index in range(values)]
    floats = [[index * 0.7234567 + luck.gauss(0, 1) for index in range(values)] for _ in range(POLLS)]
    calm = _mixed(values, luck, restless=1 / 500)
    restless = _mixed(values, luck, restless=1 / 20)
    fine = [0] * values
    bad = [0 if index % 10 else 0x8031_0000 for index in range(values)]

    def poll(number: int) -> list[int | None]:
        return [START + number * SECOND] * values

    def exact(number: int) -> list[int | None]:
        return [START + number * SECOND + luck.randrange(SECOND // 100) * 100 for _ in range(values)]

    def of(columns: list[list[Any]], qualities: list[int], times: Callable[[int], list[int | None]]) -> list[Batch]:
        return [Batch(tags, column, qualities, times(number)) for number, column in enumerate(columns)]

    found = {
        "floats of one poll": of(floats, fine, poll),
        "floats, each of its own time to 100 ns": of(floats, fine, exact),
        "floats, one in ten bad": of(floats, bad, poll),
        "mixed types, one poll": of(calm, fine, poll),
        "mixed types, one in twenty changes its length": of(restless, fine, poll),
        OTHERS: [_some(batch, luck) for batch in of(calm, fine, poll)],
    }
    for each in found.values():
        for number, batch in enumerate(each):
            batch.origin, batch.position = "telemetry", 1_000_000 + number * values
    return found


def _mixed(values: int, luck: random.Random, restless: float) -> list[list[Any]]:
    """Floats, whole numbers, yes/no and text in turn; `restless` of numbers and texts change their length each poll."""
    last: list[Any] = [
        (index * 0.7, luck.choice((5, 100, 3_000, 70_000)), index % 3 == 0, STATES[0])[index % 4]
        for index in range(values)
    ]
    found = []
    for _ in range(POLLS):
        last = [_next(value, luck, restless) for value in last]
        found.append(last)
    return found


def _next(value: Any, luck: random.Random, restless: float) -> Any:
    if type(value) is float:
        return value + luck.gauss(0, 1)
    if type(value) is bool:
        return value != (luck.random() < 0.05)
    if luck.random() < restless:
        return luck.choice(STATES) if type(value) is str else luck.choice((5, 100, 3_000, 70_000))
    return value if type(value) is str else value + 1


def _some(batch: Batch, luck: random.Random) -> Batch:
    """Two thirds of it: those that have changed."""
    places = sorted(luck.sample(range(len(batch)), len(batch) * 2 // 3))
    return Batch(
        [batch.tags[place] for place in places],
        [batch.values[place] for place in places],
        [batch.qualities[place] for place in places],
        [batch.times[place] for place in places],
    )


class Edge:
    """Our writing half, without a broker."""

    def __init__(self, folder: Path, batches: list[Batch]) -> None:
        publish = Publish(edge_node="line")
        self.batches = batches
        self.known = Known(Catalog(folder, publish.device_levels), origin=batches[0].origin)
        self.messages = Messages(publish, "bench", self.known, 0, version_5=True)
        for batch in batches:
            self.known.catalog.learn(batch)

    def births(self) -> list[Letter]:
        """NBIRTH and DBIRTH."""
        return [
            Letter(kind, None if kind is Kind.NBIRTH else "press", message.payload, 0)
            for kind, message in zip((Kind.NBIRTH, Kind.DBIRTH), self.messages.births(START), strict=True)
        ]

    def write(self) -> list[bytes]:
        """A message for each batch."""
        found = []
        for batch in self.batches:
            self.known.catalog.learn(batch)
            (message,) = self.messages.data(batch, [], START, historical=False)
            self.known.catalog.taken(batch)
            found.append(message.payload)
        return found


class Host:
    """Our reading half, without a broker."""

    def __init__(self, *, forgetful: bool) -> None:
        """`forgetful` of how messages were laid out, where in life none would come again as it was."""
        self.forgetful = forgetful
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

    def read(self, letters: list[Letter]) -> list[Batch]:
        """These messages, as if they came for the first time."""
        self.remote._relayed.forget()  # noqa: SLF001  the same messages again and again
        self.remote._order.next = 2  # noqa: SLF001
        if self.forgetful:
            self.remote._layouts = Layouts()  # noqa: SLF001
        found = []
        for letter in letters:
            self.batch = Batch.empty()
            self.remote.hear(letter)
            found.append(self.batch)
        return found


FIELDS = {float: "double_value", bool: "boolean_value", int: "long_value", str: "string_value"}


def protobuf_writes(batches: list[Batch], aliases: dict[str, int]) -> list[bytes]:
    """The obvious way: a message object for each sample. Qualities and exact times are left out."""
    found = []
    for batch in batches:
        payload = Payload(timestamp=START // 1_000_000, seq=1)
        add = payload.metrics.add
        for tag, value, at in zip(batch.tags, batch.values, batch.times, strict=True):
            metric = add()
            metric.alias = aliases[tag]
            metric.timestamp = (at or 0) // 1_000_000
            setattr(metric, FIELDS[type(value)], value)
        found.append(payload.SerializeToString())
    return found


def protobuf_writes_floats(batches: list[Batch], aliases: dict[str, int]) -> list[bytes]:
    """The same where all are known to be floats."""
    found = []
    for batch in batches:
        payload = Payload(timestamp=START // 1_000_000, seq=1)
        add = payload.metrics.add
        for tag, value, at in zip(batch.tags, batch.values, batch.times, strict=True):
            metric = add()
            metric.alias = aliases[tag]
            metric.timestamp = (at or 0) // 1_000_000
            metric.double_value = value
        found.append(payload.SerializeToString())
    return found


def protobuf_reads(bodies: list[bytes], tags: dict[int, str]) -> list[tuple[list[Any], ...]]:
    """The obvious way to columns: tag, value, quality, time."""
    return [_protobuf_reads(body, tags) for body in bodies]


def _protobuf_reads(body: bytes, tags: dict[int, str]) -> tuple[list[Any], ...]:
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
    for name, given in batches(values).items():
        with tempfile.TemporaryDirectory() as folder:
            edge, host = Edge(Path(folder), given), Host(forgetful=name == OTHERS)
            for letter in edge.births():
                host.remote.hear(letter)
            written = edge.write()
            letters = [Letter(Kind.DDATA, "press", body, 0) for body in written]
            for read, batch in zip(host.read(letters), given, strict=True):
                assert (read.tags, read.values, read.qualities, read.times) == (
                    batch.tags,
                    batch.values,
                    batch.qualities,
                    batch.times,
                )
            tags = {metric.alias: metric.tag for metric in edge.known.catalog.by_device()["press"]}
            aliases = {tag: alias for alias, tag in tags.items()}
            all_floats = all(type(value) is float for batch in given for value in batch.values)
            plain = protobuf_writes_floats if all_floats else protobuf_writes
            ways: dict[str, Callable[[], object]] = {
                "plantgate writes, ns": edge.write,
                "protobuf writes, ns": partial(plain, given, aliases),
                "plantgate reads, ns": partial(host.read, letters),
                "protobuf reads, ns": partial(protobuf_reads, written, tags),
            }
            metrics = sum(map(len, given))
            rows.append({"batches": name, "bytes": sum(map(len, written)) / metrics, **best(ways, rounds, metrics)})
    return rows


def best(ways: dict[str, Callable[[], object]], rounds: int, metrics: int) -> dict[str, float]:
    """CPU ns a metric: the median of the best of each round; in turns, so that a busy moment meets them all."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        fastest = dict.fromkeys(ways, float("inf"))
        for _ in range(5):
            for name, work in ways.items():
                began = time.process_time_ns()
                work()
                fastest[name] = min(fastest[name], time.process_time_ns() - began)
        for name, nanoseconds in fastest.items():
            found[name].append(nanoseconds / metrics)
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
        for name, given in batches(values).items():
            with tempfile.TemporaryDirectory() as folder:
                rows.append(await _send(broker, Path(folder), name, given, rounds))
    return rows


async def _send(broker: Mosquitto, folder: Path, name: str, given: list[Batch], rounds: int) -> Row:
    written = {"host": broker.host, "port": broker.port, "publish": {"group": "bench", "edge_node": "line"}}
    log = _Silent()
    context = Context("bench", folder, folder, SystemClock(), log, Standing(log))
    connector = Sparkplug(SparkplugSettings.model_validate_json(json.dumps(written)), context)
    cpu, rates = [], []
    metrics = sum(map(len, given))
    async with connector.sink() as sink:
        for batch in given * 2:
            await sink.accept(batch)
        for _ in range(rounds):
            began, at = time.process_time_ns(), time.monotonic()
            for batch in given * 5:
                await sink.accept(batch)
            cpu.append((time.process_time_ns() - began) / 5 / metrics)
            rates.append(5 * len(given) / (time.monotonic() - at))
    return {"batches": name, "CPU ns a metric": median(cpu), "batches a second": median(rates)}


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
