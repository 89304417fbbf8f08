"""OPC UA → fsynced outbox → MQTT QoS 1, end to end, beside ingest alone and asyncua's own handlers, in one run.

The gateway (or the reader) has core 0; load server, broker and subscriber share core 1. Rows are medians of windows.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.meter import machine, median, percentile, pin, read
from benchmarks.peers.load_server import load_server
from benchmarks.plant_file import write_plant, write_tags
from benchmarks.subscriber import read as messages_of
from benchmarks.table import Row, save, show
from tests.integration.journey.gateway import Gateway
from tests.peers.child import Child
from tests.peers.mosquitto import free_port, mosquitto

PUBLISHING_MS = 100
OURS_CORE, THEIRS_CORE = 0, 1
LOADS = ((5_000, 1), (12_000, 1), (3_000, 10), (12_000, 10))


@dataclass(frozen=True, slots=True)
class Window:
    """One stretch of measuring."""

    cpu_us: float
    """CPU µs a value."""
    rate: float
    """Values a second."""


async def end_to_end(tags: int, hz: int, windows: int, seconds: float) -> Row:
    """The whole way; also latency, memory, and whether every value written at the server came out."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="plantgate-bench-")))
        load = await stack.enter_async_context(load_server(tags=tags, hz=hz, core=THEIRS_CORE))
        settings = ("max_inflight_messages 0", "max_queued_messages 0")
        broker = await stack.enter_async_context(mosquitto(folder=folder / "broker", settings=settings))
        pin(broker.child.process.pid, THEIRS_CORE)
        received = folder / "received"
        await stack.enter_async_context(_subscribed(broker.host, broker.port, received, folder))
        http = free_port()
        plant = write_plant(folder, load, host=broker.host, port=broker.port, http=http, publishing_ms=PUBLISHING_MS)
        gateway = Gateway(plant, http)
        stack.push_async_callback(gateway.kill)
        await gateway.start()
        pin(gateway.pid, OURS_CORE)
        await gateway.until(
            "monitored", lambda status: status["connections"]["load"]["uses"][0]["monitored"] == tags, 60
        )
        await load.go()
        await asyncio.sleep(3)
        found: list[Window] = []
        rss = 0
        begin_ns = time.time_ns()
        for _ in range(windows):
            before, count = read(gateway.pid), await _delivered(gateway)
            await asyncio.sleep(seconds)
            after, more = read(gateway.pid), await _delivered(gateway)
            found.append(_window(after.cpu_seconds - before.cpu_seconds, more - count, after.at - before.at))
            rss = max(rss, after.rss_bytes)
        end_ns = time.time_ns()
        held = await load.hold()
        status = await gateway.until("drained", lambda status: _queued(status) == 0, 60)
        await asyncio.sleep(1)
        figures = status["flows"]["telemetry"]["destinations"]["broker"]
        delays, last = _arrivals(received, begin_ns, end_ns)
        return {
            "path": "plantgate: OPC UA → outbox (fsync) → MQTT QoS 1",
            "tags x Hz": f"{tags} x {hz}",
            "µs CPU/value": median([window.cpu_us for window in found]),
            "values/s": int(median([window.rate for window in found])),
            "p50 ms": percentile(delays, 0.50),
            "p99 ms": percentile(delays, 0.99),
            "RSS MB": rss / 1e6,
            "balance": figures["difference"],
            "missing": held.written - int(last),
        }


async def reader(mode: str, tags: int, hz: int, windows: int, seconds: float) -> Row:
    """A client alone; `mode` as in `benchmarks.readers`."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="plantgate-bench-")))
        load = await stack.enter_async_context(load_server(tags=tags, hz=hz, core=THEIRS_CORE))
        file = write_tags(folder, load)
        queue = max(10, int(5 * hz * PUBLISHING_MS / 1000))
        command = [sys.executable, "-m", "benchmarks.readers", mode, load.url, file, PUBLISHING_MS, queue]
        child = await Child.start([str(part) for part in command], log=folder / "log", talks=True)
        stack.push_async_callback(child.kill)
        pin(child.process.pid, OURS_CORE)
        await _line(child)
        await load.go()
        await asyncio.sleep(3)
        await _latest(child)
        found: list[Window] = []
        rss = 0
        for _ in range(windows):
            before = await _latest(child)
            await asyncio.sleep(seconds)
            after, now = await _latest(child), read(child.process.pid)
            values = int(after["values"] - before["values"])
            found.append(_window(after["cpu_seconds"] - before["cpu_seconds"], values, after["at"] - before["at"]))
            rss = max(rss, now.rss_bytes)
        return {
            "path": {"ours": "plantgate: ingest to columns", "asyncua": "asyncua: its own handlers"}[mode],
            "tags x Hz": f"{tags} x {hz}",
            "µs CPU/value": median([window.cpu_us for window in found]),
            "values/s": int(median([window.rate for window in found])),
            "p50 ms": None,
            "p99 ms": None,
            "RSS MB": rss / 1e6,
            "balance": None,
            "missing": None,
        }


def _window(cpu_seconds: float, values: int, seconds: float) -> Window:
    return Window(cpu_us=cpu_seconds / max(1, values) * 1e6, rate=values / seconds)


@asynccontextmanager
async def _subscribed(host: str, port: int, received: Path, folder: Path) -> AsyncIterator[None]:
    command = [sys.executable, "-m", "benchmarks.subscriber", host, str(port), "bench/samples", str(received)]
    child = await Child.start(command, log=folder / "subscriber.log", talks=True)
    try:
        pin(child.process.pid, THEIRS_CORE)
        assert child.process.stdout is not None
        await child.process.stdout.readline()
        yield
    finally:
        await child.kill()


async def _line(child: Child) -> dict[str, float]:
    assert child.process.stdout is not None
    async with asyncio.timeout(60):
        line = await child.process.stdout.readline()
    if not line:
        raise RuntimeError(f"the reader ended: {child.last_words()}")
    said: dict[str, float] = json.loads(line)
    return said


async def _latest(child: Child) -> dict[str, float]:
    """The newest line; older ones wait in the pipe and are passed over."""
    latest = await _line(child)
    while True:
        try:
            async with asyncio.timeout(0.05):
                latest = await _line(child)
        except TimeoutError:
            return latest


def _queued(status: dict[str, Any]) -> int:
    queued: int = status["flows"]["telemetry"]["destinations"]["broker"]["queued"]
    return queued


async def _delivered(gateway: Gateway) -> int:
    status = await gateway.status()
    assert status is not None, "the gateway answers"
    delivered: int = status["flows"]["telemetry"]["destinations"]["broker"]["delivered"]
    return delivered


def _arrivals(received: Path, begin_ns: int, end_ns: int) -> tuple[list[float], float]:
    """Delays in ms from source time to the subscriber within the windows, and the sum of every tag's last value."""
    delays: list[float] = []
    last: dict[str, float] = {}
    for arrived, payload in messages_of(received):
        samples = json.loads(payload)["samples"]
        for sample in samples:
            last[sample["tag"]] = sample["value"]
        if begin_ns <= arrived <= end_ns:
            for sample in samples[:: max(1, len(samples) // 50)]:
                whole, _, fraction = sample["time"].rstrip("Z").partition(".")
                seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
                delays.append((arrived - seconds * 10**9 - int(fraction.ljust(9, "0"))) / 1e6)
    return delays, sum(last.values())


async def run(windows: int, seconds: float, loads: tuple[tuple[int, int], ...]) -> list[Row]:
    """Every row, in turn."""
    rows: list[Row] = []
    for tags, hz in loads:
        rows.append(await reader("ours", tags, hz, windows, seconds))
        if tags * hz <= 30_000:  # beyond it asyncua's handlers do not keep up, and the figure says nothing
            rows.append(await reader("asyncua", tags, hz, windows, seconds))
        rows.append(await end_to_end(tags, hz, windows, seconds))
        print(".", end="", file=sys.stderr, flush=True)
    return rows


def main(arguments: list[str]) -> int:
    """Parse, measure, show."""
    parser = argparse.ArgumentParser(prog="scripts/bench opcua-mqtt", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the table here too")
    parser.add_argument("--windows", type=int, default=5, help="windows per row (median is shown)")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a window")
    parser.add_argument("--load", action="append", help="TAGSxHZ, repeatable; all four by default")
    chosen = parser.parse_args(arguments)
    loads = (
        tuple((int(t), int(h)) for t, _, h in (load.partition("x") for load in chosen.load)) if chosen.load else LOADS
    )
    rows = asyncio.run(run(chosen.windows, chosen.seconds, loads))
    windows = f"median of {chosen.windows} windows of {chosen.seconds:.0f} s"
    title = f"OPC UA → MQTT, publishing interval {PUBLISHING_MS} ms, {windows}"
    print(f"\n{machine()}; load server open62541, broker Mosquitto")
    show(title, rows)
    save(chosen.json, title, machine(), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
