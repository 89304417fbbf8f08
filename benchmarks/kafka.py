"""What Kafka costs: writing batches into a topic of Apache Kafka, and aiokafka's own producer beside it.

scripts/bench kafka [--values 1000] [--rounds 5] [--json FILE]
"""

import argparse
import asyncio
import json
import logging
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from benchmarks.meter import machine, median
from benchmarks.table import Row, save, show
from plantgate.sdk import Batch, Context, Standing, SystemClock
from plantgate_connectors.kafka import Kafka, KafkaSettings
from plantgate_connectors.kafka.payloads import Writer
from plantgate_connectors.payloads.words import TimeFormat
from tests.peers.kafka import Kafka as Broker
from tests.peers.kafka import kafka

START = 1_795_694_400_000_000_000
TOPIC, PARTITIONS = "bench", 3


def batch(values: int) -> Batch:
    """Floats with times that differ, as an OPC UA server gives them: 100 ns steps within one second."""
    return Batch(
        [f"line{index % 7}/press{index}/temperature" for index in range(values)],
        [index * 0.7234567 for index in range(values)],
        [0] * values,
        [START + index * 997_300 for index in range(values)],
        origin="telemetry-0123456789ab",
        position=1_000_000,
    )


async def sending(values: int, rounds: int) -> list[Row]:
    """CPU µs a value of our process; each batch confirmed before the next.

    The median of rounds, in which the ways take turns: what else the machine does meets them all, and so does the
    broker's getting warm, for which one round goes before.
    """
    given = batch(values)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        broker = await stack.enter_async_context(kafka(folder=Path(folder)))
        await broker.create_topic(TOPIC, PARTITIONS, {"retention.bytes": "100000000", "segment.bytes": "50000000"})
        ways: dict[str, Callable[[], Awaitable[None]]] = {}
        for name, publish in (
            ("plantgate, a record a value", {}),
            ("plantgate, a record a value, headers", {"headers": "type"}),
            ("plantgate, a record a value, gzip", {"compression": "gzip"}),
            ("plantgate, a record a tag", {"each": "tag"}),
            ("plantgate, a record a batch", {"each": "batch"}),
        ):
            written = {"servers": [broker.bootstrap], "publish": {"topic": TOPIC, **publish}}
            settings = KafkaSettings.model_validate_json(json.dumps(written))
            own = Path(folder) / f"sink {len(ways)}"
            own.mkdir()
            sink = await stack.enter_async_context(Kafka(settings, _context(own)).sink())
            ways[name] = partial(sink.accept, given)
        for name, send in (
            ("aiokafka send(), a record a value", _send),
            ("aiokafka send_batch(), a record a value", _send_batch),
        ):
            ways[name] = await stack.enter_async_context(_theirs(broker, given, send))
        cpu: dict[str, list[float]] = {name: [] for name in ways}
        wall: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(1 + rounds):
            for name, send_one in ways.items():
                took = await _measure(send_one, values)
                if turn:
                    cpu[name].append(took[0])
                    wall[name].append(took[1])
    return [
        {"way": name, "CPU µs a value": round(median(cpu[name]), 2), "wall µs a value": round(median(wall[name]), 2)}
        for name in ways
    ]


async def _measure(send: Callable[[], Awaitable[None]], values: int) -> tuple[float, float]:
    """CPU and wall µs a value."""
    began, began_wall = time.process_time(), time.perf_counter()
    repeats = 0
    while repeats < 3 or time.perf_counter() - began_wall < 0.5:
        await send()
        repeats += 1
    each = 1e6 / repeats / values
    return (time.process_time() - began) * each, (time.perf_counter() - began_wall) * each


@asynccontextmanager
async def _theirs(
    broker: Broker, given: Batch, send: Callable[[Any, Batch, list[bytes]], Awaitable[None]]
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """The library's producer with the same promises and the same payloads, written by the same code."""
    writer = Writer(TimeFormat.RFC3339)
    producer = AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap, enable_idempotence=True, acks="all", max_batch_size=1_000_000
    )
    await producer.start()

    async def whole() -> None:
        await send(producer, given, writer.each(given))

    try:
        yield whole
    finally:
        await producer.stop()


async def _send(producer: Any, given: Batch, payloads: list[bytes]) -> None:
    """As its manual shows it."""
    waiting = [
        await producer.send(TOPIC, payload, key=tag.encode(), timestamp_ms=at // 1_000_000 if at else None)
        for tag, payload, at in zip(given.tags, payloads, given.times, strict=True)
    ]
    await asyncio.gather(*waiting)


async def _send_batch(producer: Any, given: Batch, payloads: list[bytes]) -> None:
    """A batch for each partition, without the keys being reckoned: the least it can cost through the library."""
    batches = [producer.create_batch() for _ in range(PARTITIONS)]
    for place, (tag, payload, at) in enumerate(zip(given.tags, payloads, given.times, strict=True)):
        batches[place % PARTITIONS].append(key=tag.encode(), value=payload, timestamp=at // 1_000_000 if at else None)
    waiting = [await producer.send_batch(one, TOPIC, partition=number) for number, one in enumerate(batches)]
    await asyncio.gather(*waiting)


class _Quiet:
    def info(self, event: str, **facts: object) -> None:
        """Not shown."""

    warning = info

    def error(self, event: str, **facts: object) -> None:
        logging.error("%s %s", event, facts)


def _context(folder: Path) -> Context:
    log = _Quiet()
    return Context("broker", folder, folder, SystemClock(), log, Standing(log))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--values", type=int, default=1000, help="values in a batch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    written = parser.parse_args()
    print(machine())
    sent = asyncio.run(sending(written.values, written.rounds))
    title = (
        f"Writing batches of {written.values} values into a topic of {PARTITIONS} partitions, all replicas confirmed"
    )
    show(title, sent)
    save(written.json, "kafka", machine(), sent)


if __name__ == "__main__":
    main()
