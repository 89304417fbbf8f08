"""Modbus TCP: many devices polled, one of them dead; plantgate's source beside pymodbus alone, in one run.

Each device has 4 blocks of 124 registers. The reader has core 0, the devices (in C) core 1. Rows are medians.
"""

import argparse
import asyncio
import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.meter import machine, median, pin, read
from benchmarks.modbus_readers import BLOCK_REGISTERS, BLOCKS
from benchmarks.peers.modbus_load import modbus_load
from benchmarks.table import Row, save, show
from tests.peers.child import Child

OURS_CORE, THEIRS_CORE = 0, 1
LOADS = ((50, 10.0), (50, 25.0))
NAMES = {"ours": "plantgate: polls to columns", "pymodbus": "pymodbus: registers, no values"}


async def row(mode: str, devices: int, hz: float, windows: int, seconds: float) -> Row:
    """One reader at one load, with one dead device among the rest."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="plantgate-bench-")))
        load = await stack.enter_async_context(modbus_load(devices=devices, dead=1, core=THEIRS_CORE))
        command = [sys.executable, "-m", "benchmarks.modbus_readers", mode, str(1000 / hz), *map(str, load.ports)]
        child = await Child.start(command, log=folder / "log", talks=True)
        stack.push_async_callback(child.kill)
        pin(child.process.pid, OURS_CORE)
        await _line(child)
        await asyncio.sleep(5)
        rates: list[float] = []
        cores: list[float] = []
        rss = 0
        for _ in range(windows):
            before = await _latest(child)
            await asyncio.sleep(seconds)
            after, now = await _latest(child), read(child.process.pid)
            took = after["at"] - before["at"]
            rates.append((after["registers"] - before["registers"]) / took)
            cores.append((after["cpu_seconds"] - before["cpu_seconds"]) / took)
            rss = max(rss, now.rss_bytes)
        rate, core = median(rates), median(cores)
        return {
            "path": NAMES[mode],
            "devices x Hz": f"{devices} (1 dead) x {hz:g}",
            "offered/s": int((devices - 1) * BLOCKS * BLOCK_REGISTERS * hz),
            "registers/s": int(rate),
            "% of a core": 100 * core,
            "% per 250,000/s": 100 * core * 250_000 / max(1.0, rate),
            "µs CPU/request": core / max(1.0, rate) * BLOCK_REGISTERS * 1e6,
            "RSS MB": rss / 1e6,
        }


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


async def run(windows: int, seconds: float, loads: tuple[tuple[int, float], ...]) -> list[Row]:
    """Every row, in turn."""
    rows: list[Row] = []
    for devices, hz in loads:
        for mode in NAMES:
            rows.append(await row(mode, devices, hz, windows, seconds))
            print(".", end="", file=sys.stderr, flush=True)
    return rows


def main(arguments: list[str]) -> int:
    """Parse, measure, show."""
    parser = argparse.ArgumentParser(prog="scripts/bench modbus", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the table here too")
    parser.add_argument("--windows", type=int, default=5, help="windows per row (median is shown)")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a window")
    parser.add_argument("--load", action="append", help="DEVICESxHZ, repeatable; 50x10 and 50x25 by default")
    chosen = parser.parse_args(arguments)
    loads = (
        tuple((int(d), float(h)) for d, _, h in (load.partition("x") for load in chosen.load)) if chosen.load else LOADS
    )
    rows = asyncio.run(run(chosen.windows, chosen.seconds, loads))
    title = (
        f"Modbus TCP, {BLOCKS} blocks of {BLOCK_REGISTERS} registers a device, median of {chosen.windows} windows of"
    )
    title += f" {chosen.seconds:.0f} s"
    print(f"\n{machine()}; devices in C, each at a port of its own")
    show(title, rows)
    save(chosen.json, title, machine(), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
