"""A mixed plant of 12,000 tags in one gateway: 8,000 by OPC UA, 3,000 by Modbus, 1,000 by MQTT, once a second each; out
to an MQTT broker and to an OPC UA server of our own. What it takes in memory and CPU, and whether the balance holds.

The gateway has core 0; every peer shares core 1.
"""

import argparse
import asyncio
import json
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.meter import machine, median, pin, read
from benchmarks.peers.load_server import load_server
from benchmarks.plant_file import write_tags
from benchmarks.table import Row, save, show
from tests.integration.journey.gateway import Gateway
from tests.peers.modbus_slave import modbus_slave
from tests.peers.mosquitto import Mosquitto, free_port, mosquitto

OPCUA_TAGS, MODBUS_UNITS, REGISTERS, FIELDS = 8_000, 30, 100, 1_000
OURS_CORE, THEIRS_CORE = 0, 1
PLANT = """\
plant: benchmark
http: {{ listen: "127.0.0.1:{http}" }}
connections:
  lines:
    type: opcua
    url: {opcua}
    security: {{ policy: None }}
    publishing_interval_ms: 500
    sampling_interval_ms: 0
    tags_file: tags.csv
  meters:
    type: modbus
    host: {modbus_host}
    port: {modbus_port}
    poll_interval_ms: 1000
    devices:
{devices}
  drives:
    type: mqtt
    host: {host}
    port: {port}
    subscribe: [{{ topic: drives, tag: drives, payload: fields }}]
  broker:
    type: mqtt
    host: {host}
    port: {port}
    publish: {{ topic: bench/samples }}
  scada:
    type: opcua_server
    host: 127.0.0.1
    port: {scada}
    security: {{ policies: [None] }}
    login: {{ anonymous: true }}
flows:
  telemetry: {{ from: [lines, meters, drives], to: [broker, scada] }}
"""


async def run(windows: int, seconds: float) -> list[Row]:
    """One row."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="plantgate-bench-")))
        load = await stack.enter_async_context(load_server(tags=OPCUA_TAGS, hz=1, core=THEIRS_CORE))
        slave = await stack.enter_async_context(modbus_slave())
        pin(slave.child.process.pid, THEIRS_CORE)
        broker = await stack.enter_async_context(mosquitto(folder=folder / "broker"))
        pin(broker.child.process.pid, THEIRS_CORE)
        write_tags(folder, load)
        gateway = Gateway(folder / "plant.yaml", free_port())
        gateway.plant.write_text(
            PLANT.format(
                http=gateway.port,
                opcua=load.url,
                modbus_host=slave.host,
                modbus_port=slave.port,
                devices=_devices(),
                host=broker.host,
                port=broker.port,
                scada=free_port(),
            )
        )
        stack.push_async_callback(gateway.kill)
        await gateway.start()
        pin(gateway.pid, OURS_CORE)
        await gateway.until("all tags", lambda status: _monitored(status) >= OPCUA_TAGS + MODBUS_UNITS * REGISTERS, 90)
        await load.go()
        publishing = asyncio.create_task(_publish(broker))
        await asyncio.sleep(5)
        shares, rates, rss = [], [], 0
        for _ in range(windows):
            before, count = read(gateway.pid), await _accepted(gateway)
            await asyncio.sleep(seconds)
            after, more = read(gateway.pid), await _accepted(gateway)
            shares.append((after.cpu_seconds - before.cpu_seconds) / (after.at - before.at))
            rates.append((more - count) / (after.at - before.at))
            rss = max(rss, after.rss_bytes)
        publishing.cancel()
        with suppress(asyncio.CancelledError):
            await publishing
        status = await gateway.status()
        assert status is not None
        ends = status["flows"]["telemetry"]["destinations"].values()
        return [
            {
                "path": "OPC UA + Modbus + MQTT → outbox (fsync) → MQTT + OPC UA server",
                "tags": OPCUA_TAGS + MODBUS_UNITS * REGISTERS + FIELDS,
                "values/s": int(median(rates)),
                "% of a core": 100 * median(shares),
                "µs CPU/value": median(shares) / median(rates) * 1e6,
                "RSS MB": rss / 1e6,
                "balance": sum(end["difference"] for end in ends),
            }
        ]


def _devices() -> str:
    lines = []
    for unit in range(1, MODBUS_UNITS + 1):
        lines.append(f"      - {{ name: m{unit}, unit: {unit}, tags: [")
        lines += [f"          {{ tag: m{unit}/r{at}, address: {at} }}," for at in range(REGISTERS)]
        lines.append("        ] }")
    return "\n".join(lines)


async def _publish(broker: Mosquitto) -> None:
    number = 0
    while True:
        number += 1
        body = json.dumps({f"f{at}": number + at for at in range(FIELDS)})
        await broker.publish("drives", body.encode())
        await asyncio.sleep(1.0)


def _monitored(status: dict[str, Any]) -> int:
    return sum(use["monitored"] or 0 for connection in status["connections"].values() for use in connection["uses"])


async def _accepted(gateway: Gateway) -> int:
    status = await gateway.status()
    assert status is not None
    ends = status["flows"]["telemetry"]["destinations"].values()
    return int(next(iter(ends))["accepted"])


def main(arguments: list[str]) -> int:
    """Parse, measure, show."""
    parser = argparse.ArgumentParser(prog="scripts/bench mixed", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the table here too")
    parser.add_argument("--windows", type=int, default=5, help="windows (median is shown)")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a window")
    chosen = parser.parse_args(arguments)
    rows = asyncio.run(run(chosen.windows, chosen.seconds))
    title = f"a mixed plant, median of {chosen.windows} windows of {chosen.seconds:.0f} s"
    print(f"\n{machine()}")
    show(title, rows)
    save(chosen.json, title, machine(), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
