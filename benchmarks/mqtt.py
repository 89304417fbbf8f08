"""What MQTT costs: writing a batch in each format, sending it through Mosquitto, and plain paho beside it.

scripts/bench mqtt [--values 1000] [--rounds 5] [--json FILE]
"""

import argparse
import asyncio
import json
import logging
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import orjson
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from benchmarks.meter import machine, median
from benchmarks.table import Row, save, show
from plantgate.sdk import Batch, Context, Standing, SystemClock, iso, quality_name
from plantgate_connectors.mqtt import Mqtt, MqttSettings
from plantgate_connectors.mqtt.payloads import encoder, value_encoder
from plantgate_connectors.mqtt.settings import Format
from plantgate_connectors.payloads.words import TimeFormat
from tests.peers.mosquitto import Mosquitto, mosquitto

START = 1_795_694_400_000_000_000


def batch(values: int) -> Batch:
    """Floats with times that differ, as an OPC UA server gives them: 100 ns steps within one second."""
    return Batch(
        [f"line{index % 7}/press{index}/temperature" for index in range(values)],
        [index * 0.7234567 for index in range(values)],
        [0] * values,
        [START + index * 997_300 for index in range(values)],
        origin="telemetry",
        position=1_000_000,
    )


def rows_by(encode: Callable[[object], bytes], given: Batch) -> bytes:
    """The obvious way to write the same message: a dictionary for each sample."""
    return encode(
        {
            "origin": given.origin,
            "position": given.position,
            "samples": [
                {"tag": tag, "value": value, "quality": quality_name(quality), "code": quality, "time": iso(at)}
                for tag, value, quality, at in zip(given.tags, given.values, given.qualities, given.times, strict=True)
            ],
        }
    )


def encoding(values: int, rounds: int) -> list[Row]:
    """CPU ns a value."""
    given = batch(values)
    each = value_encoder(Format.JSON, TimeFormat.RFC3339, "/x")
    rows = encoder(Format.JSON, TimeFormat.RFC3339, "/x")
    rows_in_numbers = encoder(Format.JSON, TimeFormat.NANOSECONDS, "/x")
    columns = encoder(Format.COLUMNS, TimeFormat.RFC3339, "/x")
    columns_in_numbers = encoder(Format.COLUMNS, TimeFormat.NANOSECONDS, "/x")
    events = encoder(Format.CLOUDEVENTS, TimeFormat.RFC3339, "/x")
    ways: dict[str, Callable[[], bytes]] = {
        "json": lambda: rows(given, 0, values),
        "json, times as numbers": lambda: rows_in_numbers(given, 0, values),
        "columns": lambda: columns(given, 0, values),
        "columns, times as numbers": lambda: columns_in_numbers(given, 0, values),
        "cloudevents": lambda: events(given, 0, values),
        "json, a message a value": lambda: b"".join(each(given)),
        "dictionaries through msgspec": lambda: rows_by(msgspec.json.encode, given),
        "dictionaries through orjson": lambda: rows_by(orjson.dumps, given),
        "dictionaries through json": lambda: rows_by(lambda rows: json.dumps(rows).encode(), given),
    }
    found: list[Row] = []
    for name, way in ways.items():
        size = len(way())
        costs = []
        for _ in range(rounds):
            began = time.process_time_ns()
            for _ in range(20):
                way()
            costs.append((time.process_time_ns() - began) / 20 / values)
        found.append({"format": name, "CPU ns a value": round(median(costs)), "bytes a value": round(size / values)})
    return found


async def sending(values: int, rounds: int) -> list[Row]:
    """CPU µs a value of our process, through Mosquitto at QoS 1, median of rounds."""
    given = batch(values)
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        async with mosquitto(folder=Path(folder), settings=("max_inflight_messages 0",)) as broker:
            for name, publish in (
                ("plantgate, a message a batch", {}),
                ("plantgate, columns, a message a batch", {"format": "columns"}),
                ("plantgate, a message a value", {"each": "value", "topic": "{tag}"}),
                ("plantgate, a message a value, text", {"each": "value", "topic": "{tag}", "format": "text"}),
            ):
                connector = Mqtt(_settings(broker, publish), _context(Path(folder)))
                async with connector.sink() as sink:
                    found.append(await _measure(name, partial(sink.accept, given), values, rounds))
            found.append(await _paho("paho and its thread, a message a batch", broker, given, rounds, each=False))
            found.append(await _paho("paho and its thread, a message a value", broker, given, rounds, each=True))
    return found


async def _measure(name: str, send: Callable[[], Awaitable[None]], values: int, rounds: int) -> Row:
    await send()
    cpu, wall = [], []
    for _ in range(rounds):
        began, began_wall = time.process_time(), time.perf_counter()
        repeats = 0
        while repeats < 3 or time.perf_counter() - began_wall < 0.5:
            await send()
            repeats += 1
        cpu.append((time.process_time() - began) / repeats / values * 1e6)
        wall.append((time.perf_counter() - began_wall) / repeats / values * 1e6)
    return {"way": name, "CPU µs a value": round(median(cpu), 2), "wall µs a value": round(median(wall), 2)}


async def _paho(name: str, broker: Mosquitto, given: Batch, rounds: int, *, each: bool) -> Row:
    """The library as its manual shows it: network thread, `publish`, wait for the last confirmation."""
    client = Client(CallbackAPIVersion.VERSION2, client_id="plain", protocol=MQTTProtocolVersion.MQTTv5)
    client.max_inflight_messages_set(256)
    client.connect(broker.host, broker.port)
    client.loop_start()
    whole, one = encoder(Format.JSON, TimeFormat.RFC3339, "/x"), value_encoder(Format.JSON, TimeFormat.RFC3339, "/x")
    left, empty = threading.Semaphore(0), threading.Event()
    client.on_publish = lambda *_: left.release()

    async def send() -> None:
        empty.clear()
        if each:
            for tag, payload in zip(given.tags, one(given), strict=True):
                client.publish(tag, payload, qos=1)
        else:
            client.publish("plantgate/samples", whole(given, 0, len(given)), qos=1)
        for _ in range(len(given) if each else 1):
            left.acquire()

    try:
        return await _measure(name, send, len(given), rounds)
    finally:
        client.disconnect()
        client.loop_stop()


def _settings(broker: Mosquitto, publish: dict[str, Any]) -> MqttSettings:
    written = {"host": broker.host, "port": broker.port, "publish": publish}
    return MqttSettings.model_validate_json(json.dumps(written))


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
    encoded = encoding(written.values, written.rounds)
    show(f"Writing a batch of {written.values} values", encoded)
    sent = asyncio.run(sending(written.values, written.rounds))
    show(f"Sending batches of {written.values} values through Mosquitto, QoS 1", sent)
    save(written.json, "mqtt", machine(), [*encoded, *sent])


if __name__ == "__main__":
    main()
