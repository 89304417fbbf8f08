"""Modbus clients reading the load, each in a process of its own.

`ours`: plantgate's source, acknowledged batch by batch, columns thrown away: the cost of polling.
`pymodbus`: one client of the library for each device; the registers it gives are counted, and nothing more is done.
Prints a JSON line a second: registers so far, CPU seconds so far.
"""

import asyncio
import contextlib
import json
import resource
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from plantgate.flow.pump import pump
from plantgate.flow.stop import Stop
from plantgate.sdk import Batch, Context, Standing, SystemClock
from plantgate.sdk.quality import GOOD
from plantgate_connectors.modbus import Modbus, ModbusSettings

BLOCK_REGISTERS = 124
BLOCKS = 4
STEP = 200
"""From the beginning of one block to that of the next: a gap too wide to be read across."""


class Quiet:
    """A log nobody reads."""

    def info(self, event: str, **facts: object) -> None:
        """Nothing."""

    warning = error = info


class Counter:
    """Registers seen."""

    def __init__(self) -> None:
        self.registers = 0

    async def accept(self, batch: Batch) -> None:
        """Columns."""
        self.registers += batch.qualities.count(GOOD)


async def ours(ports: list[int], interval_ms: float, counter: Counter) -> None:
    tags = [
        {"tag": f"{{device}}/{block * STEP + index}", "address": block * STEP + index}
        for block in range(BLOCKS)
        for index in range(BLOCK_REGISTERS)
    ]
    settings = ModbusSettings.model_validate_json(
        json.dumps(
            {
                "host": "127.0.0.1",
                "poll_interval_ms": interval_ms,
                "in_flight_max": BLOCKS,
                "tags": tags,
                "devices": [{"name": f"d{port}", "port": port} for port in ports],
            }
        )
    )
    with TemporaryDirectory() as folder:
        context = Context("load", Path(folder), Path(folder), SystemClock(), Quiet(), Standing(Quiet()))
        async with Modbus(settings, context).source() as source, asyncio.TaskGroup() as group:
            group.create_task(pump(source, counter.accept, stop=Stop()))
            await tell(counter)


async def pymodbus(ports: list[int], interval_ms: float, counter: Counter) -> None:
    from pymodbus import ModbusException
    from pymodbus.client import AsyncModbusTcpClient

    async def poll(port: int) -> None:
        client = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=1, retries=0)
        await client.connect()
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + interval_ms / 1000, loop.time())
            with contextlib.suppress(ModbusException):
                for block in range(BLOCKS):
                    answer = await client.read_holding_registers(block * STEP, count=BLOCK_REGISTERS)
                    if not answer.isError():
                        counter.registers += len(answer.registers)
            await asyncio.sleep(due - loop.time())

    async with asyncio.TaskGroup() as group:
        for port in ports:
            group.create_task(poll(port))
        await tell(counter)


async def tell(counter: Counter) -> None:
    """For ever."""
    while True:
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu_seconds = used.ru_utime + used.ru_stime
        print(
            json.dumps({"at": time.monotonic(), "registers": counter.registers, "cpu_seconds": cpu_seconds}), flush=True
        )
        await asyncio.sleep(1.0)


if __name__ == "__main__":
    mode, interval_ms, *ports = sys.argv[1:]
    run = {"ours": ours, "pymodbus": pymodbus}[mode]
    asyncio.run(run([int(port) for port in ports], float(interval_ms), Counter()))
